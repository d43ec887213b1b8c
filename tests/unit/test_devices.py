"""Slots and what their trainers see."""

import pytest

from worker.devices import Sight, sight, slot_devices


@pytest.mark.parametrize(
    ("slots", "cuda_devices", "devices"),
    [
        (None, 0, ("cpu",)),
        (None, 2, ("cuda:0", "cuda:1")),
        (1, 2, ("cuda:0",)),
        (3, 1, ("cuda:0", "cpu", "cpu")),
        (2, 0, ("cpu", "cpu")),
    ],
)
def test_a_slot_has_a_device(
    slots: int | None, cuda_devices: int, devices: tuple[str, ...]
) -> None:
    assert slot_devices(slots, cuda_devices) == devices


@pytest.mark.parametrize(
    ("device", "environment", "expected"),
    [
        ("cpu", {}, Sight("cpu", "")),
        ("cuda:1", {}, Sight("cuda:0", "1")),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "3, 5"}, Sight("cuda:0", "5")),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-aa,GPU-bb"}, Sight("cuda:0", "GPU-aa")),
    ],
)
def test_a_trainer_sees_its_slots_device_and_no_other(
    device: str, environment: dict[str, str], expected: Sight
) -> None:
    assert sight(device, environment) == expected
