"""The network: one of the named ones, or a list of layers."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Tag, model_validator

from models.domain.spec.layers import Layers
from models.domain.spec.part import TAG, Part

NetworkName = Literal["linear", "mlp", "lenet5", "small_cnn", "vgg11", "resnet18", "resnet20"]
NETWORK_NAMES: tuple[NetworkName, ...] = get_args(NetworkName)


class NamedNetwork(Part):
    name: NetworkName


class LayeredNetwork(Part):
    layers: Layers

    @model_validator(mode="before")
    @classmethod
    def _has_no_name(cls, value: Any) -> Any:  # noqa: ANN401 - it is not validated yet
        if isinstance(value, dict) and "name" in value:
            raise ValueError("takes one of name and layers")
        return value


def _tag(value: object) -> str:
    layered = "layers" in value if isinstance(value, dict) else isinstance(value, LayeredNetwork)
    return TAG + ("layered_network" if layered else "named_network")


NetworkSpec = Annotated[
    Annotated[NamedNetwork, Tag("\0named_network")]
    | Annotated[LayeredNetwork, Tag("\0layered_network")],
    Discriminator(_tag),
]
