"""A worker's slots and the devices that their trainers see."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from services.claims import CPU, CUDA

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Sight:
    """What a trainer sees of the machine.

    Args:
        device: its device, by its own count: "cpu" or "cuda:0".
        visible: for CUDA_VISIBLE_DEVICES.

    """

    device: str
    visible: str


def slot_devices(slots: int | None, cuda_devices: int) -> tuple[str, ...]:
    """One device a slot: slot i has `cuda:i` where there is one, else the CPU.

    Args:
        slots: how many; None for a slot a CUDA device, or one where there is none.
        cuda_devices: how many devices a trainer of this worker can see.

    """
    count = slots or cuda_devices or 1
    return tuple(f"{CUDA}:{number}" if number < cuda_devices else CPU for number in range(count))


def sight(device: str, environment: Mapping[str, str] = os.environ) -> Sight:
    """What a trainer on a slot's device is to see: that device and no other."""
    if device == CPU:
        return Sight(CPU, "")
    number = int(device.removeprefix(f"{CUDA}:"))
    visible = environment.get(VISIBLE)
    # The worker itself may have been given only some: its cuda:0 is the first of those.
    mine = visible.split(",")[number].strip() if visible else str(number)
    return Sight(f"{CUDA}:0", mine)
