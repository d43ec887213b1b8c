"""Each layer's share of the error, its gradient and how far an update moves it.

A reading costs a backward pass down to the input and a copy of the weights, so it is taken only
at the iterations that `record.layers_every` names. It changes no number of the training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from models.domain.network import PlacedLayer

_ERROR, _GRAD, _WEIGHT, _RATIO = range(4)


class LayerReadings:
    """One iteration's reading, in four moments: watch, after backward, after step, and values.

    error_norm is the L2 norm, over the batch, of ∂loss/∂(the layer's output), where loss is the
    batch's booked loss; grad_norm and weight_norm are L2 over the layer's own parameters (before
    clipping, and before the update); update_ratio is ‖Δw‖ / ‖w‖.
    """

    def __init__(self, network: nn.Module, layers: Sequence[PlacedLayer]) -> None:
        self._network = network
        self._layers = tuple(layers)
        self._begins_bare = not any(map(self._parameters, self._layers[:1]))
        self._handles: list[RemovableHandle] = []
        self._squares: list[Tensor | None] = []
        self._before: list[list[Tensor]] = []
        self._values: Tensor | None = None

    def watch(self, x: Tensor) -> None:
        """Listen to every layer's output from now on, until `after_backward`; `x` goes in."""
        if self._begins_bare:
            # Nothing before the first weights has a gradient unless the input has one. Where
            # weights come first it is left out: it costs as much as another layer.
            x.requires_grad_()
        self._squares = [None] * len(self._layers)
        for place, layer in enumerate(self._layers):
            module = self._network.get_submodule(layer.name)
            self._handles.append(module.register_forward_hook(self._listener(place)))

    def _listener(self, place: int) -> Any:  # noqa: ANN401 - torch's hook type is Callable[..., Any]
        def arrived(gradient: Tensor) -> None:
            # In float64, without a float64 copy of an activation: that took 20 times as long.
            square = torch.linalg.vector_norm(gradient.detach(), dtype=torch.float64).square()
            earlier = self._squares[place]
            self._squares[place] = square if earlier is None else earlier + square

        def passed(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401 - as above
            output.register_hook(arrived)  # type: ignore[no-untyped-call]

        return passed

    def after_backward(self, scale: float) -> None:
        """Keep the norms of errors (still `scale` times too large) and of true gradients."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        parameters = [self._parameters(layer) for layer in self._layers]
        device = next(self._network.parameters()).device
        self._values = torch.zeros(len(self._layers), 4, dtype=torch.float64, device=device)
        for place, (square, own) in enumerate(zip(self._squares, parameters, strict=True)):
            values = self._values[place]
            if square is not None:
                values[_ERROR] = square.sqrt() / scale
            if own:
                gradients = [weight.grad for weight in own if weight.grad is not None]
                values[_GRAD] = _norm(gradients) if gradients else 0.0
                values[_WEIGHT] = _norm(own)
        self._before = [[weight.detach().clone() for weight in own] for own in parameters]

    def after_step(self) -> Tensor:
        """Complete the reading and return it, on the device: [layers, 4]."""
        values = self._values
        if values is None:
            raise RuntimeError("after_step before after_backward")
        for place, (layer, before) in enumerate(zip(self._layers, self._before, strict=True)):
            if before:
                own = self._parameters(layer)
                moved = _norm([now - then for now, then in zip(own, before, strict=True)])
                values[place, _RATIO] = moved / values[place, _WEIGHT]
        self._before, self._values = [], None
        return values

    def rows(self, values: Tensor) -> list[dict[str, Any]]:
        """Return a reading as the sink takes it, a dictionary a layer; waits for the device."""
        return [
            self._row(layer, numbers)
            for layer, numbers in zip(self._layers, values.tolist(), strict=True)
        ]

    def _row(self, layer: PlacedLayer, numbers: list[float]) -> dict[str, Any]:
        own = bool(self._parameters(layer))
        moved = own and numbers[_WEIGHT] != 0
        return {
            "layer": layer.name,
            "kind": layer.kind,
            "error_norm": numbers[_ERROR],
            "grad_norm": numbers[_GRAD] if own else None,
            "weight_norm": numbers[_WEIGHT] if own else None,
            "update_ratio": numbers[_RATIO] if moved else None,
        }

    def _parameters(self, layer: PlacedLayer) -> list[Tensor]:
        return list(self._network.get_submodule(layer.name).parameters(recurse=False))


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64) for tensor in tensors]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total
