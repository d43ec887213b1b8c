"""Optimizers."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Lion(Optimizer):
    """Steps by the sign of an average of gradients (Chen and others, 2023)."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": tuple(betas)})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, grad: Tensor, group: dict[str, object]) -> None:
        first, second = group["betas"]  # type: ignore[misc]
        average = self.state[parameter].setdefault("average", torch.zeros_like(parameter))
        direction = average.lerp(grad, 1 - first).sign()
        parameter.sub_(direction, alpha=group["lr"])  # type: ignore[arg-type]
        average.lerp_(grad, 1 - second)
