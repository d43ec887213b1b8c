"""What a spec may not hold, each refused at its place with a message that helps."""

import math
from typing import Any

import pytest

from models.domain.errors import SpecInvalid
from models.domain.spec import parse_spec
from models.domain.spec.scan import MOST_VALUES
from tests.specs import DIGITS, layered, refusals_of

UNKNOWN = [
    ({"lr": 0.1}, ("lr",), "optimizer.lr"),
    ({"learning_rate": 0.1}, ("learning_rate",), "optimizer.lr"),
    ({"batchsize": 4}, ("batchsize",), "batch_size"),
    ({"scheduler": {}}, ("scheduler",), "schedule"),
    ({"num_epochs": 4}, ("num_epochs",), "epochs"),
    ({"optimizer": {"learning_rate": 1}}, ("optimizer", "learning_rate"), "lr"),
    ({"dataset": {"name": "digits", "val_split": 0.1}}, ("dataset", "val_split"), "validation"),
    ({"stop": {"patience": 3}}, ("stop", "patience"), "patience_epochs"),
]
LAYERS = [
    ({"conv": {"out_channels": 3, "kernel": 3}}, "out_channels", "channels"),
    ({"conv": {"channels": 3, "kernel_size": 3}}, "kernel_size", "kernel"),
    ({"max_pool": {"kernel_size": 2}}, "kernel_size", "size"),
    ({"linear": {"out_features": 3}}, "out_features", "features"),
    ({"group_norm": {"num_groups": 3}}, "num_groups", "groups"),
    ({"leaky_relu": {"negative_slope": 0.1}}, "negative_slope", "slope"),
    ({"dropout": {"rate": 0.1}}, "rate", "p"),
]


@pytest.mark.parametrize(("changes", "loc", "meant"), UNKNOWN)
def test_an_unknown_field_is_refused_with_the_nearest_name(
    changes: dict[str, Any], loc: tuple[str, ...], meant: str
) -> None:
    assert refusals_of(DIGITS, **changes)[loc].endswith(f"{loc[-1]}: did you mean {meant}?")


@pytest.mark.parametrize(("layer", "field", "meant"), LAYERS)
def test_torch_s_own_names_are_known(layer: dict[str, Any], field: str, meant: str) -> None:
    kind = next(iter(layer))
    refusals = refusals_of(DIGITS, network=layered({"relu": {}}, layer))
    message = refusals["network", "layers", 1, kind, field]
    assert message == f"unknown field {field}: did you mean {meant}?"


def test_an_option_of_another_optimizer_names_those_that_have_it() -> None:
    refusals = refusals_of(DIGITS, optimizer={"name": "adam", "momentum": 0.9})
    assert refusals == {
        ("optimizer", "momentum"): "unknown field momentum: it belongs to sgd and rmsprop"
    }


@pytest.mark.parametrize("layers", [[], [{"relu": {}}]])
def test_a_network_with_both_name_and_layers_is_told_in_words(layers: list[object]) -> None:
    refusals = refusals_of(DIGITS, network={"name": "mlp", "layers": layers})
    message = refusals["network", "name"]
    assert message == "unknown field name: it belongs to a named network"


def test_what_follows_from_the_input_is_said_to_do_so() -> None:
    layer = {"linear": {"in_features": 64, "features": 10}}
    refusals = refusals_of(DIGITS, network=layered(layer))
    assert "it follows from the input" in refusals["network", "layers", 0, "linear", "in_features"]


@pytest.mark.parametrize(
    ("layer", "loc", "said"),
    [
        ({"conv2d": {}}, (1, "conv2d"), "did you mean conv?"),
        ({"Dense": {}}, (1, "Dense"), "did you mean linear?"),
        ("relu", (1,), '{"relu": {…}}'),
        ({"relu": {}, "tanh": {}}, (1,), "one key"),
        ({"type": "conv", "channels": 3}, (1,), "one key"),
        ({"relu": None}, (1, "relu"), "an object is expected"),
        ({"residual": {"layers": []}}, (1, "residual", "layers"), "at least 1"),
        ({"residual": {"layers": [{"x": {}}]}}, (1, "residual", "layers", 0, "x"), "unknown name"),
    ],
)
def test_what_is_no_layer_is_refused(layer: object, loc: tuple[str | int, ...], said: str) -> None:
    refusals = refusals_of(DIGITS, network={"layers": [{"relu": {}}, layer]})
    assert said in refusals["network", "layers", *loc]


@pytest.mark.parametrize(
    ("changes", "loc", "meant"),
    [
        ({"dataset": {"name": "cifar"}}, ("dataset", "name"), "cifar10"),
        ({"network": {"name": "resnet"}}, ("network", "name"), "resnet18"),
        ({"optimizer": {"name": "adma"}}, ("optimizer", "name"), "adam"),
        ({"schedule": {"name": "cosin"}}, ("schedule", "name"), "cosine"),
        ({"loss": {"name": "crossentropy"}}, ("loss", "name"), "cross_entropy"),
        ({"monitor": {"metric": "valloss"}}, ("monitor", "metric"), "val_loss"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(
    changes: dict[str, Any], loc: tuple[str, ...], meant: str
) -> None:
    assert f"did you mean {meant}?" in refusals_of(DIGITS, **changes)[loc]


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"init": {"name": "job", "job": "x", "artifact": "y"}}, ("init", "name")),
        ({"devices": 2}, ("devices",)),
        ({"compile": True}, ("compile",)),
    ],
)
def test_what_comes_later_says_so_and_nothing_else(
    changes: dict[str, Any], loc: tuple[str, ...]
) -> None:
    refusals = refusals_of(DIGITS, **changes)
    assert list(refusals) == [loc]
    assert "comes with a later release" in refusals[loc]


def test_what_comes_later_and_what_is_wrong_are_told_together() -> None:
    assert set(refusals_of(DIGITS, devices=2, epochs=0)) == {("devices",), ("epochs",)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "place", [("optimizer", "lr"), ("stop", "target_loss"), ("zzz", "deep"), ("tags", "a")]
)
def test_nan_and_infinity_are_refused_everywhere(place: tuple[str, str], value: float) -> None:
    refusals = refusals_of(DIGITS, **{place[0]: {place[1]: value}})
    assert "finite" in refusals[place]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_postgresql_cannot_hold_is_refused_in_values_and_in_keys(text: str) -> None:
    assert ("name",) in refusals_of(DIGITS, name=text)
    assert ("tags", "a") in refusals_of(DIGITS, tags={"a": text})
    [(loc, message)] = refusals_of(DIGITS, tags={text: "a"}).items()
    assert "NUL or a lone surrogate" in message
    assert "".join(map(str, loc)).encode()


def test_ten_thousand_brackets_are_refused_without_recursion() -> None:
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]
    [message] = refusals_of(DIGITS, network=nested).values()
    assert "nested deeper" in message


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    assert refusals_of(DIGITS, tags=loop)


def test_more_values_than_a_body_can_hold_are_refused() -> None:
    [message] = refusals_of(DIGITS, augment=[0] * (MOST_VALUES + 1)).values()
    assert "more than" in message


def test_a_hundred_refusals_are_enough() -> None:
    assert len(refusals_of(DIGITS, network=layered(*[{"x": {}}] * 5_000))) == 100


def test_a_key_of_a_million_characters_is_shown_short() -> None:
    [(loc, message)] = refusals_of(DIGITS, **{"k" * 1_000_000: 1}).items()
    assert len(str(loc[0])) <= 100
    assert len(message) < 1_000


@pytest.mark.parametrize("raw", [None, 3, "spec", [], [DIGITS]])
def test_what_is_no_object_is_refused(raw: object) -> None:
    with pytest.raises(SpecInvalid):
        parse_spec(raw)


def test_every_missing_field_is_named() -> None:
    with pytest.raises(SpecInvalid) as refused:
        parse_spec({})
    assert {breach.loc for breach in refused.value.breaches} == {
        ("dataset",),
        ("network",),
        ("epochs",),
    }
