"""A job that has ended: as it should, owned by nobody, with the hashes of what it left."""

import hashlib
from collections.abc import Iterator

from models.domain.artifacts import WEIGHTS
from models.domain.lifecycle import FINISHED, State
from tests.chaos.book import Book


def broken_ending(book: Book) -> Iterator[str]:
    """Say what of a finished job's book is not closed as it should be."""
    job = book.job
    if job.state not in FINISHED:
        if job.loss_sha256 is not None or job.weights_sha256 is not None:
            yield "it has hashes, and has not ended"
        return
    if job.state == State.FAILED:
        # No fault that is done to it is of its spec's making, and it may try a hundred times.
        yield f"it failed: {job.error}"
    where = book.progress
    if (where.lease_until, where.wanted, where.phase) != (None, None, "done"):
        yield f"it has ended: lease {where.lease_until}, wanted {where.wanted}, {where.phase}"
    losses = hashlib.sha256(book.iterations["loss"].astype("<f8").tobytes()).hexdigest()
    if job.loss_sha256 != losses:
        yield f"loss_sha256 is {job.loss_sha256}, its rows give {losses}"
    weights = book.artifacts.get(WEIGHTS)
    if job.state == State.SUCCEEDED and (weights is None or weights.sha256 != job.weights_sha256):
        yield f"weights_sha256 is {job.weights_sha256}, booked is {weights}"
    if job.stop_reason == "epochs" and where.iteration != job.plan["iterations_total"]:
        yield f"it did all epochs and {where.iteration} of {job.plan['iterations_total']}"
