"""The device that a training runs on, set up as its spec's `deterministic` and `threads` say."""

import os

import torch

from worker.training.errors import DeviceMissing


def prepare_device(name: str, *, deterministic: bool, threads: int) -> torch.device:
    """Return the device, after this process's switches were set.

    Raises:
        DeviceMissing: the worker named a device that is not there.

    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    # Filling fresh memory with NaN finds bugs in kernels and costs a pass over every tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    device = torch.device(name)
    if device.type == "cuda":
        _prepare_cuda(device, deterministic=deterministic)
    return device


def _prepare_cuda(device: torch.device, *, deterministic: bool) -> None:
    # cuBLAS reads it when it is first used, and is deterministic only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise DeviceMissing(str(device))
    torch.cuda.set_device(device)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    # Deterministic work is to be repeatable anywhere: fp32 means fp32 there, not TF32.
    precision = "ieee" if deterministic else "tf32"
    torch.backends.fp32_precision = precision  # type: ignore[attr-defined]
