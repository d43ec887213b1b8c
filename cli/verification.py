"""Does the book hold what it says? Every row once, and the bytes that its hashes are of."""

import hashlib
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.answers import FINISHED, Job, Number
from cli.errors import Refused
from models.domain.artifacts import WEIGHTS

if TYPE_CHECKING:
    from cli.client import Client


class BookWrong(Refused):
    """The book does not hold what it says; the text names what differs."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared: in words, and whether it is as it should be."""

    right: bool
    text: str


def verify_book(client: "Client", job: Job) -> Iterator[Check]:
    """Read all of a finished job's rows, and its weights, and compare them with its book.

    Checked: rows 1…expected are there, each once and in order; `loss_sha256` is that of their
    losses as little-endian float64; `weights_sha256` that of the bytes of `weights.safetensors`.

    Raises:
        BookWrong: the job has not ended, so its book is still being written.

    """
    if job["state"] not in FINISHED:
        raise BookWrong(f"job {job['id']} is {job['state']}: its book is still being written")
    book = job["book"]
    rows = _read_rows(client, job["id"])
    yield _complete(rows, book["expected"])
    yield _equal("loss_sha256", rows.loss_sha256, book["loss_sha256"], f"of {rows.count:,} losses")
    if book["weights_sha256"] is not None:
        digest = hashlib.sha256()
        size = 0
        for piece in client.artifact(job["id"], WEIGHTS):
            digest.update(piece)
            size += len(piece)
        what = f"of the {size:,} bytes of {WEIGHTS}"
        yield _equal("weights_sha256", digest.hexdigest(), book["weights_sha256"], what)


@dataclass(frozen=True, slots=True)
class _Rows:
    count: int
    first_gap: int | None
    loss_sha256: str


def _read_rows(client: "Client", job_id: str) -> _Rows:
    digest = hashlib.sha256()
    count, first_gap = 0, None
    for page in client.iterations(job_id, "loss"):
        numbers = page["columns"]["iteration"]
        if first_gap is None:
            should_be = range(count + 1, count + 1 + len(numbers))
            pairs = zip(numbers, should_be, strict=True)
            first_gap = next((right for found, right in pairs if found != right), None)
        count += len(numbers)
        digest.update(_little_endian(page["columns"]["loss"]))
    return _Rows(count, first_gap, digest.hexdigest())


def _little_endian(losses: list[Number]) -> bytes:
    # float() knows the words NaN, Infinity and -Infinity.
    values = array("d", map(float, losses))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _complete(rows: _Rows, expected: int) -> Check:
    if rows.first_gap is not None:
        return Check(False, f"rows: {rows.count:,} of {expected:,}, wrong from {rows.first_gap:,}")
    if rows.count != expected:
        return Check(False, f"rows: {rows.count:,} are there, {expected:,} should be")
    return Check(
        True, f"rows: 1 to {expected:,}, each once" if expected else "rows: none, as booked"
    )


def _equal(name: str, found: str, booked: str | None, what: str) -> Check:
    if booked is None:
        return Check(False, f"{name}: none in the book of a job that has ended ({found} {what})")
    if found != booked:
        return Check(False, f"{name}: the book says {booked}, it is {found} {what}")
    return Check(True, f"{name}: {found} {what}")
