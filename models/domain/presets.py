"""The named networks, written in the layer language."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.domain.errors import Breach, SpecInvalid
from models.domain.spec.layers import (
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    Layer,
    Layers,
    Linear,
    MaxPool,
    Relu,
    Residual,
)
from models.domain.spec.network import NetworkName


@dataclass(frozen=True, slots=True)
class Preset:
    """A named network.

    Attributes:
        build: its layers for so many classes.
        min_size: the least (height, width) that it takes.
        flat: whether samples that are no images, [features], will do.

    """

    build: Callable[[int], Layers]
    min_size: tuple[int, int]
    flat: bool = False


def layers_of(name: NetworkName, classes: int) -> Layers:
    """The network's layers; its last one has `classes` features."""
    return PRESETS[name].build(classes)


def require_fit(name: NetworkName, shape: Sequence[int]) -> None:
    """Raise SpecInvalid, with the cure, where samples of `shape` are too small for it."""
    preset = PRESETS[name]
    if len(shape) == 1:
        if not preset.flat:
            others = ", ".join(other for other, known in PRESETS.items() if known.flat)
            raise _unfit(
                f"{name} needs images, [channels, height, width], and the data set gives "
                f"[{shape[0]}]: take one of {others}, or a synthetic shape of three numbers"
            )
        return
    height, width = preset.min_size
    if shape[1] < height or shape[2] < width:
        fitting = [
            other
            for other, known in PRESETS.items()
            if known.min_size[0] <= shape[1] and known.min_size[1] <= shape[2]
        ]
        raise _unfit(
            f"{name} needs {height} by {width}, and the data set gives {shape[1]} by {shape[2]}: "
            f"set dataset.resize to [{max(height, shape[1])}, {max(width, shape[2])}], "
            f"or take another network ({', '.join(fitting)})"
        )


def _unfit(message: str) -> SpecInvalid:
    return SpecInvalid([Breach(("network", "name"), message)])


def _linear(classes: int) -> Layers:
    return Flatten(), Linear(features=classes)


def _mlp(classes: int) -> Layers:
    return (
        Flatten(),
        *(Linear(features=256), Relu()),
        *(Linear(features=128), Relu()),
        Linear(features=classes),
    )


def _lenet5(classes: int) -> Layers:
    """LeCun et al. 1998 with today's ReLU and max pooling, no padding."""
    return (
        *(Conv(channels=6, kernel=5), Relu(), MaxPool(size=2)),
        *(Conv(channels=16, kernel=5), Relu(), MaxPool(size=2)),
        Flatten(),
        *(Linear(features=120), Relu()),
        *(Linear(features=84), Relu()),
        Linear(features=classes),
    )


def _small_cnn(classes: int) -> Layers:
    return (
        *_conv_norm_relu(32),
        MaxPool(size=2),
        *_conv_norm_relu(64),
        MaxPool(size=2),
        *_conv_norm_relu(128),
        GlobalAvgPool(),
        Linear(features=classes),
    )


def _vgg11(classes: int) -> Layers:
    """Simonyan and Zisserman 2014, A, as it is used on CIFAR: batch norm, one linear layer."""
    blocks = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    layers: list[Layer] = []
    for block in blocks:
        for channels in block:
            layers += [Conv(channels=channels, kernel=3, padding=1), BatchNorm(), Relu()]
        layers.append(MaxPool(size=2))
    return *layers, Flatten(), Linear(features=classes)


def _resnet18(classes: int) -> Layers:
    """He et al. 2015 in the form for 32 by 32: a 3 by 3 first conv, no first pooling."""
    return _resnet((64, 128, 256, 512), blocks=2, classes=classes)


def _resnet20(classes: int) -> Layers:
    """He et al. 2015, section 4.2, with 1 by 1 convs where shapes differ (option B)."""
    return _resnet((16, 32, 64), blocks=3, classes=classes)


def _resnet(stages: Sequence[int], *, blocks: int, classes: int) -> Layers:
    layers: list[Layer] = [*_conv_norm_relu(stages[0])]
    for stage, channels in enumerate(stages):
        for block in range(blocks):
            layers += _basic_block(channels, stride=2 if stage and not block else 1)
    return *layers, GlobalAvgPool(), Linear(features=classes)


def _basic_block(channels: int, stride: int) -> Layers:
    return (
        Residual(
            layers=(
                *_conv_norm_relu(channels, stride),
                Conv(channels=channels, kernel=3, padding=1, bias=False),
                BatchNorm(),
            )
        ),
        Relu(),
    )


def _conv_norm_relu(channels: int, stride: int = 1) -> Layers:
    # The norm after it subtracts the mean, so a bias would have no effect.
    conv = Conv(channels=channels, kernel=3, stride=stride, padding=1, bias=False)
    return conv, BatchNorm(), Relu()


PRESETS: Final[Mapping[NetworkName, Preset]] = MappingProxyType(
    {
        "linear": Preset(_linear, (1, 1), flat=True),
        "mlp": Preset(_mlp, (1, 1), flat=True),
        "lenet5": Preset(_lenet5, (16, 16)),
        "small_cnn": Preset(_small_cnn, (4, 4)),
        "vgg11": Preset(_vgg11, (32, 32)),
        "resnet18": Preset(_resnet18, (1, 1)),
        "resnet20": Preset(_resnet20, (1, 1)),
    }
)
