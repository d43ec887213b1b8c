"""What a program reports to, and how it hears what somebody wants."""

import math
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from models.domain.lifecycle import Phase, StopReason, Wish
from worker.program.keeping import NETWORK
from worker.program.ledger import Ledger
from worker.training.artifacts import leave, safetensors
from worker.training.epochs import MEASURED
from worker.training.errors import ProgramMisused
from worker.training.learner import Update
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest
from worker.training.stopping import Measurements

Value: TypeAlias = Tensor | float
"""A number; a tensor of one stays on its device until it is delivered."""

_MOST_SAMPLES = 2**31 - 1


class Run:
    """A program's way to the book; for the thread that `main` was called in, and its process.

    Any method raises `Cancelled` once somebody wants the job gone, and `checkpoint` raises
    `Suspended` once somebody wants it to go on later: a program lets both pass.

    Attributes:
        device: "cpu" or "cuda:N", where the program is to compute.
        seed: the spec's; torch, NumPy and Python are seeded with it.
        threads: the spec's; torch has them.
        attempt: counted from 1.

    """

    def __init__(
        self, request: TrainRequest, sink: Sink, signal: StopSignal, ledger: Ledger
    ) -> None:
        self.device, self.attempt = request.device, request.attempt
        self.seed, self.threads = int(request.spec["seed"]), int(request.spec["threads"])
        self._sink, self._signal, self._ledger = sink, signal, ledger
        self._nothing = torch.zeros((), dtype=torch.int64, device=ledger.device)
        self._network: nn.Module | None = None
        self._told_to_stop = False

    @property
    def iterations_done(self) -> int:
        """Those that are in the book: a program that has resumed goes on after them."""
        return self._ledger.state.iteration

    @property
    def epochs_done(self) -> int:
        return self._ledger.state.epoch - 1

    def iteration(
        self,
        *,
        loss: Value,
        samples: int,
        lr: float = math.nan,
        grad_norm: Value | None = None,
    ) -> None:
        """Book a weight update: its loss, the mean over its samples.

        A loss that is a tensor on a device costs no synchronisation.
        """
        self._ledger.begin()
        if not 0 <= samples <= _MOST_SAMPLES or int(samples) != samples:
            raise ProgramMisused(f"iteration: samples are a whole number from 0, not {samples}")
        update = Update(
            loss=self._number("loss", loss),
            correct=self._nothing,
            grad_norm=None if grad_norm is None else self._number("grad_norm", grad_norm),
            skipped=None,
            layers=None,
        )
        self._ledger.record(int(samples), float(lr), update)

    def metric(self, name: str, value: Value) -> None:
        """Book a number of the program's own, of the iteration that was told last."""
        self._ledger.begin()
        if not self.iterations_done:
            raise ProgramMisused("metric: there was no iteration yet")
        self._ledger.measure({name: float(value)})

    def epoch(self, **measured: Value) -> None:
        """Book an epoch: the iterations since the last one.

        `train_loss` is the mean over their samples unless it is told. `train_accuracy`, `val_loss`,
        `val_accuracy`, `test_loss` and `test_accuracy` have columns of their own, other names are
        metrics of the epoch.
        """
        self._ledger.begin()
        if not self._ledger.has_open_epoch():
            raise ProgramMisused("epoch: there was no iteration since the last one")
        numbers = {name: float(value) for name, value in measured.items()}
        columns: Measurements = {name: numbers.pop(name) for name in MEASURED if name in numbers}
        self._ledger.close_epoch(columns, numbers)

    @property
    def checkpoint_due(self) -> bool:
        """Whether `checkpoint` would write one now."""
        return self._ledger.checkpoint_due

    def checkpoint(self, **objects: Any) -> bool:  # noqa: ANN401 - whatever a program goes on from
        """Save where the program stands, if it is time to, or if somebody wants it to go on later.

        Call it wherever `resume` can go on from. Of an object with a `state_dict` that is saved,
        of anything else the value, which is tensors and plain values. `network` is the one whose
        weights are the job's. Random states are saved too.

        Returns:
            Whether it was saved.

        Raises:
            Suspended: somebody wants the job to go on later.

        """
        self._ledger.begin()
        self._remember(objects)
        return self._ledger.checkpoint_due and self._ledger.save(objects)

    def resume(self, **objects: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever it goes on from
        """Go on from the newest good checkpoint, where there is one; call it once, before all else.

        Each object gets its state back, by `load_state_dict`.

        Returns:
            The values that were saved beside the objects; none at the start.

        """
        if self._ledger.begun:
            raise ProgramMisused("resume: something was reported already")
        self._remember(objects)
        values = self._ledger.go_on(objects)
        self._ledger.begin()
        return values

    def keep(self, *, network: nn.Module) -> None:
        """Name the module whose weights are the job's, where no checkpoint does."""
        self._network = network

    @property
    def should_stop(self) -> bool:
        """Whether somebody wants the program to come to an end: to save, and to return."""
        self._ledger.hear()
        self._told_to_stop |= self._signal.wanted() is Wish.STOP
        return self._told_to_stop

    def alive(self) -> None:
        """Show life, in what takes long and has no iterations."""
        self._ledger.hear()

    def finish(self) -> Ended:
        """Close the book of a program that has returned; for who has called it."""
        ledger = self._ledger
        ledger.begin()
        if ledger.has_open_epoch():
            ledger.close_epoch({}, {})
        sha256 = None
        if self._network is not None:
            ledger.enter(Phase.SAVE)
            content = safetensors(self._network.state_dict())
            sha256 = leave(ledger.store, self._sink, "weights.safetensors", "weights", content)
        ledger.tell_summary(final=True)
        reason = StopReason.STOPPED if self._told_to_stop else StopReason.RETURNED
        return Ended(reason, ledger.state.iteration, None, sha256)

    def _remember(self, objects: dict[str, Any]) -> None:
        if isinstance(objects.get(NETWORK), nn.Module):
            self._network = objects[NETWORK]

    def _number(self, name: str, value: Value) -> Tensor:
        device = self._ledger.device
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ProgramMisused(f"{name} is one number, not {list(value.shape)}")
            number = value.detach().reshape(()).to(device, torch.float64)
            # It is read later, and the program may go on computing in it.
            return number.clone() if number.data_ptr() == value.data_ptr() else number
        return torch.tensor(float(value), dtype=torch.float64, device=device)
