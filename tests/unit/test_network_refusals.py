"""Networks that cannot run: the layer, the shape that it needs and the one that it gets."""

from typing import Any

import pytest

from foundation.settings import LimitsSettings
from models.domain.errors import SpecInvalid
from models.domain.network import place_network
from models.domain.network.placing import DEEPEST
from models.domain.plan import make_plan
from models.domain.spec import parse_spec
from models.domain.spec.network import LayeredNetwork
from tests.specs import CIFAR, Refusals, layered, plan_of, refusals_of

Layer = dict[str, Any]
Place = tuple[str | int, ...]
LINEAR: Layer = {"linear": {"features": 10}}


def conv(channels: int, kernel: int, **options: int) -> Layer:
    return {"conv": {"channels": channels, "kernel": kernel} | options}


def refused_under(limits: LimitsSettings, **changes: object) -> Refusals:
    with pytest.raises(SpecInvalid) as refused:
        make_plan(parse_spec(CIFAR | changes), limits)
    return {breach.loc: breach.msg for breach in refused.value.breaches}


@pytest.mark.parametrize(
    ("layers", "loc", "said"),
    [
        ([conv(6, 33)], (0, "conv"), ["conv1", "[3, 33, 33]", "[3, 32, 32]"]),
        ([conv(6, 30), {"max_pool": {"size": 4}}], (1, "max_pool"), ["max_pool1", "[6, 3, 3]"]),
        ([conv(6, 3), LINEAR], (1, "linear"), ["linear1", "flatten", "[6, 30, 30]"]),
        ([{"flatten": {}}, conv(6, 3)], (1, "conv"), ["conv1", "[3072]"]),
        ([{"flatten": {}}, {"global_avg_pool": {}}], (1, "global_avg_pool"), ["[3072]"]),
        ([conv(6, 3, groups=2)], (0, "conv"), ["2 groups", "[3, 32, 32]"]),
        ([conv(4, 3, groups=3)], (0, "conv"), ["3 groups", "not 4"]),
        ([{"group_norm": {"groups": 2}}], (0, "group_norm"), ["group_norm1", "not 3"]),
        (
            [{"residual": {"layers": [conv(6, 3)]}}],
            (0, "residual"),
            ["residual1", "[3, 32, 32]", "[6, 30, 30]"],
        ),
        (
            [{"residual": {"layers": [{"flatten": {}}]}}],
            (0, "residual"),
            ["residual1", "[3, 32, 32]", "[3072]"],
        ),
        (
            [{"residual": {"layers": [{"relu": {}}, conv(1, 99)]}}],
            (0, "residual", "layers", 1, "conv"),
            ["conv1", "[3, 32, 32]"],
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_named_with_both_shapes(
    layers: list[Layer], loc: Place, said: list[str]
) -> None:
    refusals = refusals_of(CIFAR, network=layered(*layers))
    message = refusals["network", "layers", *loc]
    assert len(refusals) == 1
    assert [word for word in said if word not in message] == []


@pytest.mark.parametrize(
    ("layers", "loc", "cure"),
    [
        (
            [{"flatten": {}}, {"linear": {"features": 9}}],
            (1, "linear", "features"),
            "set features to 10",
        ),
        ([conv(10, 3)], (0,), '{"flatten": {}} and {"linear": {"features": 10}}'),
        ([{"flatten": {}}], (0,), 'end the network with {"linear": {"features": 10}}'),
    ],
)
def test_output_that_is_not_the_classes_says_what_to_set(
    layers: list[Layer], loc: Place, cure: str
) -> None:
    assert refusals_of(CIFAR, network=layered(*layers))["network", "layers", *loc].endswith(cure)


def nested(depth: int) -> Layer:
    layer: Layer = {"relu": {}}
    for _ in range(depth):
        layer = {"residual": {"layers": [layer]}}
    return layer


def test_residuals_stand_sixteen_deep_and_no_deeper() -> None:
    fitting = layered(nested(DEEPEST), {"flatten": {}}, LINEAR)
    assert len(plan_of(CIFAR, network=fitting).network.layers) == DEEPEST + 3
    [message] = refusals_of(CIFAR, network=layered(nested(DEEPEST + 1))).values()
    assert "16 deep" in message


def test_residuals_a_thousand_deep_are_refused_without_recursion() -> None:
    [message] = refusals_of(CIFAR, network=layered(nested(1_000))).values()
    assert "nested deeper" in message


def test_numbers_run_through_body_then_shortcut_then_the_residual_itself() -> None:
    block: Layer = {"residual": {"layers": [conv(8, 3, padding=1, stride=2), {"batch_norm": {}}]}}
    network = LayeredNetwork.model_validate(
        layered(conv(4, 1), block, block, {"flatten": {}}, LINEAR)
    )
    placed = place_network(network, (3, 32, 32), 10)
    assert [layer.name for layer in placed.flat()] == [
        *("conv1", "conv2", "batch_norm1", "conv3", "batch_norm2", "residual1"),
        *("conv4", "batch_norm3", "conv5", "batch_norm4", "residual2"),
        *("flatten1", "linear1"),
    ]
    first = placed.layers[1]
    assert first.shortcut[0].options == {
        "channels": 8,
        "kernel": 1,
        "stride": 2,
        "padding": 0,
        "groups": 1,
        "bias": False,
    }


def test_a_residual_that_keeps_its_shape_has_no_shortcut() -> None:
    network = LayeredNetwork.model_validate(
        layered({"residual": {"layers": [{"relu": {}}]}}, {"flatten": {}}, LINEAR)
    )
    assert place_network(network, (3, 4, 4), 10).layers[0].shortcut == ()


@pytest.mark.parametrize(
    ("limits", "loc", "said"),
    [
        (LimitsSettings(parameters=62_005), ("network",), "62,006 parameters"),
        (LimitsSettings(layers=11), ("network",), "more layers than the limit of 11"),
        (LimitsSettings(activation_bytes=10_000_000), ("batch_size",), "micro_batch_size to at"),
        (LimitsSettings(activation_bytes=1_000), ("network",), "smaller"),
        (LimitsSettings(dataset_bytes=10_000_000), ("dataset",), "60,000 samples"),
    ],
)
def test_what_is_too_large_is_refused_by_the_settings(
    limits: LimitsSettings, loc: Place, said: str
) -> None:
    assert said in refused_under(limits)[loc]


def test_the_micro_batch_that_a_refusal_suggests_is_taken() -> None:
    limits = LimitsSettings(activation_bytes=10_000_000)
    [message] = refused_under(limits).values()
    most = int(message.rsplit(" ", 1)[1].replace(",", ""))
    make_plan(parse_spec(CIFAR | {"micro_batch_size": most}), limits)
    assert refused_under(limits, micro_batch_size=most + 1)


def test_a_width_beyond_all_memory_is_refused_by_arithmetic_alone() -> None:
    wide = {"linear": {"features": 16_777_216}}
    [message] = refusals_of(CIFAR, network=layered({"flatten": {}}, wide, wide, LINEAR)).values()
    assert "parameters, more than the limit" in message
