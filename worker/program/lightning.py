"""A Lightning `Trainer` in a program: a callback that reports what it does.

    def main(run, epochs=5):
        reporting = Reporting(run)
        trainer = Trainer(max_epochs=epochs, callbacks=[reporting], enable_checkpointing=False)
        module, data = …
        trainer.fit(module, data, ckpt_path=reporting.resume(module))

Lightning is no dependency of the service: a team's package brings it.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from worker.program.names import metric_name
from worker.program.packing import Unpacked, pack
from worker.program.run import Run

_KEPT = "lightning"


class Reporting(Callback):  # type: ignore[misc]
    """Books each update, each epoch with what was logged by then, and Lightning's own checkpoints.

    One device. The optimizer is Lightning's to step (automatic optimization).
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unpacked = Unpacked()
        self._lr, self._loss, self._samples = math.nan, 0.0, 0
        self._steps = 0

    def resume(self, module: LightningModule) -> str | None:
        """What `Trainer.fit` takes as `ckpt_path`; None at the start. Build the module before."""
        values = self._run.resume()
        self._run.keep(network=module)
        if _KEPT not in values:
            return None
        return str(self._unpacked.put(values[_KEPT]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module
        self._steps = trainer.global_step
        # It has been read by now.
        self._unpacked.forget()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        del trainer, pl_module
        self._lr = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: Any,  # noqa: ANN401 - as above
        batch_idx: int,
    ) -> None:
        """Book an update when one was made: its loss is the sum of its passes' shares."""
        del pl_module, batch_idx
        self._loss = self._loss + (outputs["loss"] if isinstance(outputs, Mapping) else outputs)
        self._samples += _size(batch)
        if trainer.global_step > self._steps:
            self._run.iteration(loss=self._loss, samples=self._samples, lr=self._lr)
            self._steps, self._loss, self._samples = trainer.global_step, 0.0, 0
        if self._run.should_stop:
            trainer.should_stop = True

    def on_validation_batch_end(self, *_: object, **__: object) -> None:
        self._run.alive()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = {metric_name(name): float(each) for name, each in trainer.callback_metrics.items()}
        self._run.epoch(**logged)
        if self._run.checkpoint_due:
            with tempfile.TemporaryDirectory(prefix="lightning-") as folder:
                file = Path(folder, "lightning.ckpt")
                trainer.save_checkpoint(file)
                packed = pack(file)
            self._run.checkpoint(network=pl_module, **{_KEPT: packed})


def _size(batch: Any) -> int:  # noqa: ANN401 - as above
    """The samples of a batch: the length of the first tensor in it."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 1
    if isinstance(batch, Mapping):
        return _size(next(iter(batch.values()), None))
    if isinstance(batch, Sequence) and not isinstance(batch, str):
        return _size(batch[0]) if batch else 0
    return 1
