"""A Hugging Face `Trainer` in a program: a callback that reports what it does.

    def main(run, epochs=5):
        reporting = Reporting(run)
        trainer = Trainer(model=…, args=TrainingArguments(…), callbacks=[reporting], …)
        trainer.train(resume_from_checkpoint=reporting.resume(trainer.model))

transformers is no dependency of the service: a team's package brings it.
"""

import math
import shutil
from collections.abc import Sized
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from worker.program.names import metric_name
from worker.program.packing import Unpacked, pack
from worker.program.run import Run

_KEPT = "transformers"
_EVALUATED = {"eval_loss": "val_loss", "eval_accuracy": "val_accuracy"}


class Reporting(TrainerCallback):  # type: ignore[misc]
    """Books each update, each epoch with its evaluation, and the trainer's own checkpoints.

    One device. Each step's loss is read, which the trainer does at `logging_steps` alone: it waits
    for the device once an update. A loss of NaN is booked as what it is
    (`logging_nan_inf_filter` is turned off).
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unpacked = Unpacked()
        self._epoch: dict[str, float] | None = None
        self._samples = 0

    def resume(self, model: nn.Module) -> str | None:
        """What `Trainer.train` takes as `resume_from_checkpoint`; None at the start."""
        values = self._run.resume()
        self._run.keep(network=model)
        if _KEPT not in values:
            return None
        return str(self._unpacked.put(values[_KEPT]))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        del state, control
        args.logging_nan_inf_filter = False

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self._close_epoch()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader[Any] | None = None,
        **_: object,
    ) -> None:
        # Random states are read just before the first step.
        self._unpacked.forget()
        size = args.train_batch_size * args.gradient_accumulation_steps
        samples = _sized(train_dataloader)
        steps = None if samples is None else self._steps(args, train_dataloader)
        step = 0 if steps is None else (state.global_step - 1) % steps
        # The last step of an epoch may have fewer.
        self._samples = size if samples is None else min(size, samples - step * size)
        control.should_log = True
        if self._run.should_stop:
            control.should_training_stop = True
        # An epoch's last step saves with its end, so that it goes on with the next one.
        if self._run.checkpoint_due and step + 1 != steps:
            control.should_save = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        del args, control
        logs = logs or {}
        if "loss" in logs and state.global_step == self._run.iterations_done + 1:
            self._run.iteration(
                loss=logs["loss"],
                samples=self._samples,
                lr=logs.get("learning_rate", math.nan),
                grad_norm=logs.get("grad_norm"),
            )

    def on_prediction_step(self, *_: object, **__: object) -> None:
        self._run.alive()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        del args, state
        # Its evaluation comes after it.
        self._epoch = {}
        if self._run.checkpoint_due:
            control.should_save = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, object] | None = None,
        **_: object,
    ) -> None:
        del args, state, control
        if self._epoch is not None:
            numbers = {k: v for k, v in (metrics or {}).items() if isinstance(v, int | float)}
            self._epoch |= {_EVALUATED.get(k, metric_name(k)): v for k, v in numbers.items()}

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **_: object,
    ) -> None:
        del control
        self._close_epoch()
        if self._run.checkpoint_due:
            folder = Path(args.output_dir or ".", f"checkpoint-{state.global_step}")
            packed = pack(folder)
            if args.save_strategy == "no":
                # It was written for us alone.
                shutil.rmtree(folder)
            self._run.checkpoint(network=model, **{_KEPT: packed})

    def on_train_end(self, *_: object, **__: object) -> None:
        self._close_epoch()

    def _steps(self, args: TrainingArguments, loader: DataLoader[Any] | None) -> int:
        batches = 1 if loader is None else len(loader)
        return max(1, math.ceil(batches / int(args.gradient_accumulation_steps)))

    def _close_epoch(self) -> None:
        told, self._epoch = self._epoch, None
        if told is not None:
            self._run.epoch(**told)


def _sized(loader: DataLoader[Any] | None) -> int | None:
    """How many samples an epoch has; None where nobody knows."""
    dataset = getattr(loader, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else None
