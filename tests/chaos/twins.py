"""The same trainings left alone, and what a disturbed one must have in common with its twin."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Row

from models.domain.artifacts import BEST_WEIGHTS, EVALUATION, SOURCE, WEIGHTS
from models.domain.lifecycle import State, StopReason, Wish
from models.tables import epochs
from tests.chaos.book import COLUMNS, Book, Numbers

# How long something took is nobody's promise; and two jobs have two keys.
UNCOUNTED = frozenset(
    {"job_key", "samples_per_second", *(name for name in epochs.c.keys() if "seconds" in name)}  # noqa: SIM118 - a collection of columns is no dict
)
FILES = (WEIGHTS, BEST_WEIGHTS, SOURCE, EVALUATION)

Twins = dict[str, Book]
"""The undisturbed jobs' books by their spec_sha256."""


def differences(book: Book, twin: Book) -> Iterator[str]:
    """Say where a job differs from its twin, which ended undisturbed; invariant 2.

    A job that has not come to the end, or was stopped before it, must be the twin as far as it
    went; one that has is it to the last bit of its files.
    """
    yield from _rows(book, twin)
    yield from _lines("epoch", _comparable(book, twin), twin.epochs)
    yield from _lines("layer reading", book.layers, twin.layers)
    yield from _metrics(book, twin)
    if book.job.state == State.SUCCEEDED and book.job.stop_reason != StopReason.STOPPED:
        yield from _ends(book, twin)


def _rows(book: Book, twin: Book) -> Iterator[str]:
    ours, theirs = book.iterations, twin.iterations
    if len(ours) > len(theirs):
        yield f"{len(ours)} iterations, its twin ended after {len(theirs)}"
        return
    for name in COLUMNS.names or ():
        bits, twins_bits = (_bits(rows[name]) for rows in (ours, theirs[: len(ours)]))
        wrong = np.flatnonzero(bits != twins_bits)
        if len(wrong):
            at = int(wrong[0])
            values = f"{ours[name][at].item()}, its twin's is {theirs[name][at].item()}"
            yield f"from iteration {at + 1} on ({len(wrong)} rows) {name} is {values}"


def _bits(column: Numbers) -> Numbers:
    return np.ascontiguousarray(column).view(np.int64)


def _comparable(book: Book, twin: Book) -> Sequence[Row[Any]]:
    """All epochs but one that a wish to stop made the last: that one is measured as such."""
    if not book.epochs:
        return book.epochs
    asked = book.job.stop_reason == StopReason.STOPPED or book.progress.wanted == Wish.STOP
    last, per_epoch = book.epochs[-1], book.job.plan["batches_per_epoch"]
    cut_short = last.batches < per_epoch and last.last_iteration != len(twin.iterations)
    return book.epochs[:-1] if asked or cut_short else book.epochs


def _metrics(book: Book, twin: Book) -> Iterator[str]:
    """Every value up to the end of the last epoch that can be compared, to the bit."""
    epochs = _comparable(book, twin)
    last = epochs[-1].last_iteration if epochs else 0

    def told(each: Book) -> set[tuple[str, int, int, str]]:
        return {
            (metric["name"], row.iteration, row.ordinal, repr(row.value))
            for metric in each.metrics
            for row in each.values_of(metric)
            if row.iteration <= last
        }

    if wrong := told(book) ^ told(twin):
        yield f"metrics differ from its twin's: {sorted(wrong)[:3]}"


def _lines(what: str, ours: Sequence[Row[Any]], known: Sequence[Row[Any]]) -> Iterator[str]:
    for place, row in enumerate(ours):
        if place >= len(known):
            yield f"{what} {place + 1} is one more than its twin has"
            return
        mine, twins = _counted(row), _counted(known[place])
        # By their text: NaN is itself here, and floats are told to the last bit.
        wrong = [name for name in mine if repr(mine[name]) != repr(twins[name])]
        if wrong:
            values = {name: (mine[name], twins[name]) for name in wrong}
            yield f"{what} {place + 1} differs from its twin's: {values}"
            return


def _counted(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in UNCOUNTED}


def _ends(book: Book, twin: Book) -> Iterator[str]:
    counts = [(len(each.iterations), len(each.epochs), len(each.layers)) for each in (book, twin)]
    if counts[0] != counts[1]:
        yield f"iterations, epochs, layer readings: {counts[0]}, its twin's {counts[1]}"
    for name in ("stop_reason", "loss_sha256", "weights_sha256"):
        mine, twins = (getattr(each.job, name) for each in (book, twin))
        if mine != twins:
            yield f"{name} is {mine}, its twin's {twins}"
    yield from _lines("summary", [book.summary], [twin.summary])
    for name in FILES:
        mine, twins = (
            each.artifacts[name].sha256 if name in each.artifacts else None for each in (book, twin)
        )
        if mine != twins:
            yield f"{name} has sha256 {mine}, its twin's {twins}"
