"""Lightning's and Hugging Face's trainers as programs: rows, epochs, pauses, the same bits.

They are no dependencies of ours, so these run in an environment of their own: `make libraries`.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest

from models.domain.lifecycle import StopReason, Wish
from tests.installed import write_package
from tests.programs import call, kept_in, program_spec
from tests.trainings import Book
from worker.training.errors import Cancelled, Suspended

pytest.importorskip("lightning.pytorch", reason="make libraries runs these")
pytest.importorskip("transformers", reason="make libraries runs these")

# What they deprecate of each other and of torch is theirs.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("team_vision")]

LIGHTNING = """
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from team_vision.data import load
from team_vision.nets import build
from worker.program.lightning import Reporting


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = build()

    def training_step(self, batch):
        x, labels = batch
        loss = torch.nn.functional.cross_entropy(self.network(x), labels)
        self.log("train loss!", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch):
        x, labels = batch
        self.log("val_loss", torch.nn.functional.cross_entropy(self.network(x), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main(run, epochs=3, passes=1):
    train, test = load(train=100, test=32)
    module = Module()
    reporting = Reporting(run)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=[reporting],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accumulate_grad_batches=passes,
    )
    trainer.fit(
        module, DataLoader(train, batch_size=16, shuffle=True), DataLoader(test, batch_size=32),
        ckpt_path=reporting.resume(module),
    )
"""

HUGGING_FACE = """
import tempfile

import torch
from transformers import Trainer, TrainingArguments

from team_vision.data import load
from team_vision.nets import build
from worker.program.hugging_face import Reporting


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = build()

    def forward(self, x, labels):
        output = self.network(x)
        return {"loss": torch.nn.functional.cross_entropy(output, labels), "logits": output}


def collate(samples):
    return {
        "x": torch.stack([x for x, _ in samples]),
        "labels": torch.tensor([label for _, label in samples]),
    }


def main(run, epochs=3, passes=1):
    train, test = load(train=100, test=32)
    reporting = Reporting(run)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, num_train_epochs=epochs, per_device_train_batch_size=16,
            learning_rate=0.01, eval_strategy="epoch", save_strategy="no", report_to=[],
            use_cpu=True, disable_tqdm=True, gradient_accumulation_steps=passes, seed=run.seed,
        )
        trainer = Trainer(
            model=Model(), args=arguments, train_dataset=train, eval_dataset=test,
            data_collator=collate, callbacks=[reporting],
        )
        trainer.train(resume_from_checkpoint=reporting.resume(trainer.model))
"""

PROGRAMS = {"lightning": LIGHTNING, "hugging_face": HUGGING_FACE}


@pytest.fixture(params=sorted(PROGRAMS))
def spec(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A program's spec: 7 batches an epoch, the last of 4 samples; 3 epochs."""
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    monkeypatch.delitem(__import__("sys").modules, "team_odd", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "team_odd.odd", raising=False)
    write_package(tmp_path / "odd", "team_odd", odd=PROGRAMS[request.param])
    importlib.invalidate_caches()
    return program_spec("team_odd.odd:main", seed=3, checkpoint={"every_seconds": 1000})


def with_options(spec: dict[str, Any], **options: int) -> dict[str, Any]:
    return spec | {"program": spec["program"] | {"options": options}}


def test_every_update_and_every_epoch_is_in_the_book(spec: dict[str, Any], tmp_path: Path) -> None:
    ended, book = call(spec, tmp_path)
    assert (ended.stop_reason, ended.iterations) == (StopReason.RETURNED, 21)
    table = book.table
    assert table["iteration"].tolist() == list(range(1, 22))
    assert table["epoch"].tolist() == [1] * 7 + [2] * 7 + [3] * 7
    assert table["samples"].tolist() == [16, 16, 16, 16, 16, 16, 4] * 3
    assert table["lr"][0] == 0.01
    assert table["loss"][-1] < table["loss"][0]
    assert len(book.epochs) == 3
    assert all(0 < epoch["val_loss"] < 3 for epoch in book.epochs)
    assert ended.weights_sha256 is not None


def test_several_passes_are_one_update(spec: dict[str, Any], tmp_path: Path) -> None:
    ended, book = call(with_options(spec, epochs=1, passes=2), tmp_path)
    assert ended.iterations == 4
    assert book.table["samples"].tolist() == [32, 32, 32, 4]
    assert len(book.epochs) == 1


def once_there_is_a_row(wish: Wish) -> Any:  # noqa: ANN401 - a function
    return lambda book: wish if len(book.table) else None


def test_a_pause_saves_what_goes_on_to_the_same_bits(spec: dict[str, Any], tmp_path: Path) -> None:
    ended, whole = call(spec, tmp_path / "whole")
    first = Book()
    with pytest.raises(Suspended):
        call(spec, tmp_path / "cut", book=first, wish=once_there_is_a_row(Wish.PAUSE))
    (kept,) = kept_in(first)
    again, rest = call(spec, tmp_path / "cut", attempt=2, checkpoints=(kept,))
    assert 0 < kept.iteration < 21
    assert rest.table["iteration"].tolist() == list(range(kept.iteration + 1, 22))
    assert first.losses + rest.losses == whole.losses
    assert [*first.epochs, *rest.epochs][-1]["epoch"] == 3
    assert again.weights_sha256 == ended.weights_sha256


def test_a_stop_is_obeyed(spec: dict[str, Any], tmp_path: Path) -> None:
    ended, book = call(spec, tmp_path, wish=once_there_is_a_row(Wish.STOP))
    assert ended.stop_reason is StopReason.STOPPED
    assert 0 < ended.iterations < 21
    assert len(book.table) == ended.iterations
    assert len(book.epochs) == 1


def test_a_cancel_ends_it(spec: dict[str, Any], tmp_path: Path) -> None:
    book = Book()
    with pytest.raises(Cancelled):
        call(spec, tmp_path, book=book, wish=once_there_is_a_row(Wish.CANCEL))
    assert len(book.table) >= 1
