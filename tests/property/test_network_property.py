"""Shapes and parameters by arithmetic, against torch running the same layers."""

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from models.domain.errors import SpecInvalid
from models.domain.network import PlacedNetwork, place_network
from models.domain.spec.network import LayeredNetwork
from tests.torch_networks import Ran, run_network

Layer = dict[str, dict[str, Any]]
CLASSES = 3

small = st.integers(1, 5)


def _layer(kind: str, **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Layer]:
    return st.fixed_dictionaries({kind: st.fixed_dictionaries(options)})


def _pool(kind: str) -> st.SearchStrategy[Layer]:
    optional = st.fixed_dictionaries({"size": small}, optional={"stride": small})
    return st.fixed_dictionaries({kind: optional})


conv = st.fixed_dictionaries(
    {
        "conv": st.fixed_dictionaries(
            {"channels": st.integers(1, 8), "kernel": small},
            optional={
                "stride": small,
                "padding": st.integers(0, 3),
                "groups": st.integers(1, 4),
                "bias": st.booleans(),
            },
        )
    }
)
anywhere = st.one_of(
    *(_layer(kind) for kind in ("batch_norm", "layer_norm", "relu", "gelu", "tanh", "sigmoid")),
    _layer("group_norm", groups=st.integers(1, 4)),
    _layer("leaky_relu", slope=st.floats(0.01, 0.5)),
    _layer("dropout", p=st.floats(0, 0.9)),
)
on_images = st.recursive(
    st.one_of(conv, anywhere, _pool("max_pool"), _pool("avg_pool")),
    lambda inner: _layer("residual", layers=st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)
on_features = st.one_of(_layer("linear", features=small, bias=st.booleans()), anywhere)
flattening: st.SearchStrategy[Layer] = st.sampled_from([{"flatten": {}}, {"global_avg_pool": {}}])


@st.composite
def networks(draw: st.DrawFn) -> list[Layer]:
    head = draw(st.lists(on_features, max_size=3))
    return [
        *draw(st.lists(on_images, max_size=6)),
        draw(flattening),
        *head,
        {"linear": {"features": CLASSES}},
    ]


def placed(layers: list[Layer], shape: tuple[int, ...]) -> PlacedNetwork | None:
    try:
        network = LayeredNetwork.model_validate({"layers": layers})
        return place_network(network, shape, CLASSES)
    except SpecInvalid:
        return None


def ran(layers: list[Layer], shape: tuple[int, ...]) -> list[Ran] | None:
    try:
        return run_network(layers, shape)
    except (RuntimeError, ValueError):
        return None


@settings(max_examples=300, deadline=None)
@given(networks(), st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)))
def test_arithmetic_and_torch_agree_on_every_layer_and_on_what_does_not_fit(
    layers: list[Layer], shape: tuple[int, int, int]
) -> None:
    ours, torchs = placed(layers, shape), ran(layers, shape)
    event("fits" if torchs else "does not fit")
    if ours is None or torchs is None:
        assert (ours is None) == (torchs is None)
        return
    flat = [Ran(layer.kind, layer.output_shape, layer.parameters) for layer in ours.flat()]
    assert flat == torchs


@settings(max_examples=100, deadline=None)
@given(networks())
def test_names_number_each_kind_from_one_in_the_order_of_the_list(layers: list[Layer]) -> None:
    network = placed(layers, (4, 12, 12))
    counts: dict[str, int] = {}
    for layer in network.flat() if network else ():
        counts[layer.kind] = counts.get(layer.kind, 0) + 1
        assert layer.name == f"{layer.kind}{counts[layer.kind]}"
