"""The same training on a CUDA device, where there is one."""

from pathlib import Path

import pytest
import torch

from tests.trainings import train_spec

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

SPEC = {
    "dataset": {"name": "digits"},
    "network": {"name": "small_cnn"},
    "epochs": 3,
    "batch_size": 64,
    "augment": [{"random_crop": {"padding": 1}}],
}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_same_spec_gives_the_same_bits_on_a_gpu(precision: str, tmp_path: Path) -> None:
    spec = SPEC | {"precision": precision}
    one, first = train_spec(spec, tmp_path / "one", device="cuda:0")
    other, second = train_spec(spec, tmp_path / "other", device="cuda:0")
    assert first.losses == second.losses
    assert one.weights_sha256 == other.weights_sha256
    assert first.epochs[-1]["test_accuracy"] > 0.9


def test_a_gpu_learns_what_a_cpu_learns(tmp_path: Path) -> None:
    spec = SPEC | {"precision": "fp32", "augment": []}
    _, gpu = train_spec(spec, tmp_path / "gpu", device="cuda:0")
    _, cpu = train_spec(spec, tmp_path / "cpu")
    assert gpu.losses[0] == pytest.approx(cpu.losses[0], rel=1e-4)
    assert gpu.epochs[-1]["train_loss"] == pytest.approx(cpu.epochs[-1]["train_loss"], rel=0.2)
