"""How weights are first drawn. `default` leaves what torch's modules drew for themselves."""

from collections.abc import Callable

from torch import Tensor, nn

_METHODS: dict[str, Callable[[Tensor], Tensor]] = {
    "kaiming_normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "kaiming_uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
}


def initialise(network: nn.Module, name: str) -> None:
    """Draw the weights of convolutions and linear layers by method `name`; their biases are 0.

    kaiming uses fan-in and the gain of relu. Normalisation layers keep 1 and 0. The numbers come
    from torch's global generator, in the order of the network's layers.
    """
    if name == "default":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _METHODS[name](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
