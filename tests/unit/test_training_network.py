"""The module that trains, the source that it leaves, and the arithmetic of the plan agree."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from models.domain.network import PlacedNetwork, place_network
from models.domain.spec import parse_spec
from models.domain.spec.network import NetworkName, OwnNetwork
from worker.training.data.loading import Data, Split
from worker.training.initialising import initialise
from worker.training.network import Network
from worker.training.source import network_source

EVERY_KIND = [
    {"conv": {"channels": 4, "kernel": 3, "padding": 1, "groups": 1}},
    {"batch_norm": {}},
    {"leaky_relu": {"slope": 0.1}},
    {
        "residual": {
            "layers": [
                {"conv": {"channels": 8, "kernel": 3, "padding": 1, "stride": 2}},
                {"group_norm": {"groups": 2}},
                {"residual": {"layers": [{"gelu": {}}]}},
            ]
        }
    },
    {"max_pool": {"size": 2, "stride": 1}},
    {"layer_norm": {}},
    {"tanh": {}},
    {"avg_pool": {"size": 2}},
    {"dropout": {"p": 0.5}},
    {"conv": {"channels": 6, "kernel": 1, "groups": 2, "bias": False}},
    {"sigmoid": {}},
    {"flatten": {}},
    {"linear": {"features": 12}},
    {"batch_norm": {}},
    {"relu": {}},
    {"linear": {"features": 10, "bias": False}},
]


def place(network: dict[str, Any], shape: tuple[int, ...]) -> PlacedNetwork:
    raw = {"dataset": {"name": "digits"}, "network": network, "epochs": 1}
    parsed = parse_spec(raw).network
    assert not isinstance(parsed, OwnNetwork)
    return place_network(parsed, shape, 10)


def data(shape: tuple[int, ...]) -> Data:
    torch.manual_seed(1)
    samples = Split(torch.rand(4, *shape) * 16, torch.arange(4))
    each = (1, shape[0], *(1,) * (len(shape) - 1))
    mean, std = torch.full(each, 4.88307919), torch.full(each, 6.01668701)
    return Data(samples, None, samples, 10, mean, std, "")


def built(source: str) -> nn.Module:
    names: dict[str, Any] = {}
    exec(compile(source, "network.py", "exec"), names)  # noqa: S102 - it is the file's purpose
    module: nn.Module = names["Network"]()
    return module


def output(network: nn.Module, x: Tensor) -> Tensor:
    network.eval()
    with torch.no_grad():
        result: Tensor = network(x)
    return result


NETWORKS = [({"name": name}, (3, 32, 32)) for name in get_args(NetworkName)] + [
    ({"layers": EVERY_KIND}, (2, 9, 8)),
    ({"name": "mlp"}, (7,)),
]


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_the_left_source_is_the_network_that_trained(
    network: dict[str, Any], shape: tuple[int, ...]
) -> None:
    placed, samples = place(network, shape), data(shape)
    torch.manual_seed(7)
    trained = Network(placed)
    torch.manual_seed(7)
    left = built(network_source(placed, samples, None))
    state = trained.state_dict()
    assert list(left.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in left.state_dict().items())
    images = samples.train.images
    assert torch.equal(output(left, images), output(trained, samples.normalise(images)))


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_every_layer_has_the_planned_shape_and_parameters(
    network: dict[str, Any], shape: tuple[int, ...]
) -> None:
    placed = place(network, shape)
    trained = Network(placed)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in placed.flat():

        def seen(_module: nn.Module, _inputs: object, made: Tensor, name: str = layer.name) -> None:
            shapes[name] = tuple(made.shape[1:])

        trained.layer(layer.name).register_forward_hook(seen)
    output(trained, torch.zeros(2, *shape))
    for layer in placed.flat():
        own = trained.layer(layer.name).parameters(recurse=False)
        assert (shapes[layer.name], sum(p.numel() for p in own)) == (
            tuple(layer.output_shape),
            layer.parameters,
        )
    assert sum(p.numel() for p in trained.parameters()) == placed.parameters


def test_the_source_imports_nothing_of_ours() -> None:
    source = network_source(place({"name": "resnet20"}, (3, 32, 32)), data((3, 32, 32)), [32, 32])
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["import torch", "from torch import nn"]
    assert "resized to 32 by 32, bilinear" in source


@pytest.mark.parametrize(
    "name",
    ["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "orthogonal"],
)
def test_a_named_start_draws_weights_from_the_seed_and_zeroes_biases(name: str) -> None:
    placed = place({"name": "lenet5"}, (1, 16, 16))
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        network = Network(placed)
        initialise(network, name)
        weights.append(network.state_dict())
    assert torch.equal(weights[0]["conv1.weight"], weights[1]["conv1.weight"])
    assert not torch.equal(weights[0]["conv1.weight"], weights[2]["conv1.weight"])
    assert not weights[0]["linear1.bias"].any()


def test_the_default_start_is_torchs_own() -> None:
    torch.manual_seed(3)
    network = Network(place({"name": "linear"}, (1, 8, 8)))
    initialise(network, "default")
    torch.manual_seed(3)
    assert torch.equal(network.state_dict()["linear1.weight"], nn.Linear(64, 10).weight)
