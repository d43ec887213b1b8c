"""The named networks, against torch and against what is known of them."""

import pytest

from models.domain.datasets import DATASETS
from models.domain.network import PlacedNetwork, place_network
from models.domain.presets import PRESETS, layers_of
from models.domain.spec.network import NETWORK_NAMES, NamedNetwork, NetworkName
from tests.specs import DIGITS, refusals_of
from tests.torch_networks import Ran, run_network

SHAPES = [(1, 4, 4), (1, 8, 8), (3, 17, 19), (1, 28, 28), (3, 32, 32), (3, 40, 33)]


def placed(name: NetworkName, shape: tuple[int, ...], classes: int = 10) -> PlacedNetwork:
    return place_network(NamedNetwork(name=name), shape, classes)


def fits(name: NetworkName, shape: tuple[int, ...]) -> bool:
    height, width = PRESETS[name].min_size
    return shape[1] >= height and shape[2] >= width


@pytest.mark.parametrize(
    ("name", "shape"), [(n, s) for n in NETWORK_NAMES for s in SHAPES if fits(n, s)]
)
def test_shapes_and_parameters_are_torch_s(name: NetworkName, shape: tuple[int, ...]) -> None:
    layers = [layer.model_dump(mode="json") for layer in layers_of(name, 7)]
    flat = placed(name, shape, classes=7).flat()
    ours = [Ran(layer.kind, layer.output_shape, layer.parameters) for layer in flat]
    assert ours == run_network(layers, shape)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("lenet5", 62_006), ("vgg11", 9_231_114), ("resnet18", 11_173_962), ("resnet20", 272_474)],
)
def test_known_networks_have_their_known_parameters(name: NetworkName, parameters: int) -> None:
    assert placed(name, (3, 32, 32)).parameters == parameters


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_min_size_is_the_least_that_torch_takes(name: NetworkName) -> None:
    layers = [layer.model_dump(mode="json") for layer in layers_of(name, 10)]
    height, width = PRESETS[name].min_size
    assert run_network(layers, (1, height, width))
    for smaller in {(1, height - 1, width), (1, height, width - 1)} if height > 1 else ():
        with pytest.raises((RuntimeError, ValueError)):
            run_network(layers, smaller)


@pytest.mark.parametrize("name", NETWORK_NAMES)
@pytest.mark.parametrize("classes", [2, 100])
def test_the_last_layer_has_the_data_set_s_classes(name: NetworkName, classes: int) -> None:
    assert placed(name, (3, 32, 32), classes).output_shape == (classes,)


def test_every_named_network_takes_cifar10() -> None:
    assert all(fits(name, DATASETS["cifar10"].shape) for name in PRESETS)


def test_too_small_an_input_is_refused_with_both_cures() -> None:
    [message] = refusals_of(DIGITS, network={"name": "lenet5"}).values()
    assert message == (
        "lenet5 needs 16 by 16, and the data set gives 8 by 8: set dataset.resize to [16, 16], "
        "or take another network (linear, mlp, small_cnn, resnet18, resnet20)"
    )


def test_features_are_no_image_and_say_which_networks_take_them() -> None:
    flat = {"name": "synthetic", "shape": [20], "classes": 4}
    refusals = refusals_of(DIGITS, dataset=flat, network={"name": "resnet20"})
    assert "take one of linear, mlp" in refusals["network", "name"]
    assert placed("mlp", (20,), 4).output_shape == (4,)
