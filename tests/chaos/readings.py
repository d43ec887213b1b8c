"""Iterations, epochs, layer readings and metrics against the plan's arithmetic and each other."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Row

from models.domain.lifecycle import State
from tests.chaos.book import Book, Numbers
from tests.chaos.metrics import broken_metrics

ROUNDING = 1e-12


def broken_readings(book: Book) -> Iterator[str]:
    """Say what of invariant 1 does not hold: iterations are 1…k, each once, and all agrees."""
    yield from _iterations(book)
    yield from _epochs(book)
    yield from _layers(book)
    yield from broken_metrics(book)


def _iterations(book: Book) -> Iterator[str]:
    rows, plan = book.iterations, book.job.plan
    k, count, written = book.progress.iteration, book.progress.rows, len(rows)
    if not k == count == written:
        yield f"progress says iteration {k} and {count} rows; {written} rows are there"
    numbers = np.arange(1, written + 1)
    for name, expected in (
        ("iteration", numbers),
        ("epoch", (numbers - 1) // plan["batches_per_epoch"] + 1),
        ("batch", (numbers - 1) % plan["batches_per_epoch"] + 1),
        ("samples", _samples(numbers, plan)),
    ):
        wrong = np.flatnonzero(rows[name] != expected)
        if len(wrong):
            at = int(wrong[0])
            yield f"row {at + 1} has {name} {rows[name][at]}, which should be {expected[at]}"
    if k > plan["iterations_total"]:
        yield f"iteration {k} of {plan['iterations_total']}"
    last = float(rows["loss"][-1]) if written else None
    if last != book.progress.latest_loss:
        yield f"the latest loss is {book.progress.latest_loss}, the last row's is {last}"


def _samples(
    numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]", plan: dict[str, int]
) -> Numbers:
    is_last = numbers % plan["batches_per_epoch"] == 0
    samples: Numbers = np.where(is_last, plan["last_batch_size"], plan["batch_size"])
    return samples


def _epochs(book: Book) -> Iterator[str]:
    per_epoch, k = book.job.plan["batches_per_epoch"], book.progress.iteration
    numbers = [row.epoch for row in book.epochs]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"epochs are {numbers}"
    # A row of the next epoch is never written before the epoch's own.
    fewest, most = (k - 1) // per_epoch, math.ceil(k / per_epoch)
    if not fewest <= len(numbers) <= most:
        yield f"{len(numbers)} epochs at iteration {k} of {per_epoch} an epoch"
    for row in book.epochs:
        first, last = (row.epoch - 1) * per_epoch + 1, row.epoch * per_epoch
        # The last may be cut short, by a rule or a wish; then it is where the book ends.
        expected = (first, min(last, k) if row is book.epochs[-1] else last)
        if (row.first_iteration, row.last_iteration) != expected:
            at = f"{row.first_iteration} to {row.last_iteration}"
            yield f"epoch {row.epoch} goes from {at}, which should be {expected}"
        elif row.last_iteration > k:
            yield f"epoch {row.epoch} ends at {row.last_iteration}, the book at {k}"
        else:
            yield from _sums(book, row)


def _sums(book: Book, row: Row[Any]) -> Iterator[str]:
    rows = book.iterations[row.first_iteration - 1 : row.last_iteration]
    loss, samples = 0.0, 0
    for batch_loss, batch_samples in zip(
        rows["loss"].tolist(), rows["samples"].tolist(), strict=True
    ):
        loss += batch_loss * batch_samples
        samples += batch_samples
    if (row.batches, row.samples) != (len(rows), samples):
        found = f"{row.batches} batches and {row.samples} samples"
        yield f"epoch {row.epoch} has {found}; its rows have {len(rows)} and {samples}"
    elif not math.isclose(row.train_loss, loss / samples, rel_tol=ROUNDING):
        yield f"epoch {row.epoch} has train_loss {row.train_loss}; its rows give {loss / samples}"


def _layers(book: Book) -> Iterator[str]:
    k, every = book.progress.iteration, book.job.spec["record"]["layers_every"]
    layers = len(book.job.plan["network"]["layers"])
    found = [(row.iteration, row.position) for row in book.layers]
    due = [i for i in range(1, k + 1) if every and (i == 1 or i % every == 0)]
    expected = [(iteration, position) for iteration in due for position in range(layers)]
    if found == expected:
        return
    # While it runs, readings may come one flush after their row.
    if book.job.state == State.SUCCEEDED or found != expected[: len(found)]:
        wrong = sorted(set(found) ^ set(expected))[:3]
        yield f"layer readings (iteration, position) differ from those due, first at {wrong}"
