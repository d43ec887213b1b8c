"""fp32, bf16 and fp16: what the forward pass computes in, and how fp16's gradients survive."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(wanted: str, device: torch.device) -> str:
    """Return what "auto" becomes: fp32 on a CPU, bf16 on a device that has it."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


class Precision:
    """One job's precision. Weights, gradients and the booked loss are fp32 in all of them."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.dtype = _DTYPES.get(name)
        self.scaler = (
            torch.amp.GradScaler(device.type, init_scale=2.0**16) if name == "fp16" else None
        )

    def forward(self) -> AbstractContextManager[object]:
        """The context of a forward pass and its loss."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring the gradients to their true size; once an iteration, before they are read."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def scale(self) -> float:
        """Return by how much gradients are too large until `unscale`; synchronises in fp16."""
        return 1.0 if self.scaler is None else self.scaler.get_scale()

    def step(self, optimizer: Optimizer) -> Tensor | None:
        """Update the weights; in fp16 return whether that was skipped, as a number on the device.

        The scaler's public face tells only by a synchronisation that its verdict was infinite.
        """
        if self.scaler is None:
            optimizer.step()
            return None
        found = self.scaler._found_inf_per_device(optimizer)  # noqa: SLF001 - see above
        skipped = torch.stack([verdict.to(self.device) for verdict in found.values()]).amax()
        self.scaler.step(optimizer)
        self.scaler.update()
        return skipped
