"""What a training ran on: enough to say why two runs differ."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "numpy", "safetensors", "fsspec", "pooch", "pydantic")
_ROOT = Path(__file__).resolve().parents[2]


def describe_environment(device: torch.device, precision: str, threads: int) -> dict[str, Any]:
    """Return device, versions and code revision; no process is started for it."""
    described = {
        "device": str(device),
        "device_name": _device_name(device),
        "precision": precision,
        "threads": threads,
        "torch": str(torch.__version__),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "revision": code_revision(_ROOT),
    }
    if device.type == "cuda":
        described["cuda"] = torch.version.cuda
        described["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return described


_LIKE = (
    "device_name",
    "precision",
    "threads",
    "torch",
    "kernels",
    "cuda",
    "cudnn",
    "entrypoints",
)


def kind_of(environment: dict[str, Any]) -> dict[str, Any]:
    """Return what of an environment decides the bits: two machines with the same are alike."""
    return {name: environment[name] for name in _LIKE if name in environment}


def code_revision(root: Path) -> str | None:
    """Return the commit that `root` is checked out at; None where it is no checkout."""
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
