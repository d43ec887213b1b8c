"""The network: one of the named ones, a list of layers, or a team's own."""

from typing import Annotated, Literal, get_args

from pydantic import Discriminator, Tag

from models.domain.spec.entrypoint import EntryPoint
from models.domain.spec.layers import Layers
from models.domain.spec.part import OWN, TAG, Part

NetworkName = Literal["linear", "mlp", "lenet5", "small_cnn", "vgg11", "resnet18", "resnet20"]
NETWORK_NAMES: tuple[NetworkName, ...] = get_args(NetworkName)


class NamedNetwork(Part):
    name: NetworkName


class LayeredNetwork(Part):
    layers: Layers


class OwnNetwork(EntryPoint):
    """Returns a `torch.nn.Module` that takes a batch and gives one number a class."""


def _tag(value: object) -> str:
    own = "entrypoint" in value if isinstance(value, dict) else isinstance(value, OwnNetwork)
    if own:
        return OWN
    layered = "layers" in value if isinstance(value, dict) else isinstance(value, LayeredNetwork)
    return TAG + ("a list of layers" if layered else "a named network")


NetworkSpec = Annotated[
    Annotated[NamedNetwork, Tag("\0a named network")]
    | Annotated[LayeredNetwork, Tag("\0a list of layers")]
    | Annotated[OwnNetwork, Tag(OWN)],
    Discriminator(_tag),
]
