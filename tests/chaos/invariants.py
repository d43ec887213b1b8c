"""What must hold of every job after every round."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

from tests.chaos.book import Book
from tests.chaos.chronicle import broken_chronicle
from tests.chaos.endings import broken_ending
from tests.chaos.files import broken_files
from tests.chaos.readings import broken_readings
from tests.chaos.rollups import broken_rollups
from tests.chaos.trainers import outliving_trainers
from tests.chaos.twins import Twins, differences


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take once all parts of the stack serve again, in seconds.

    Args:
        overdue: until a job is taken from an attempt whose lease is over.
        outliving: until a trainer is gone whose attempt has ended.

    """

    overdue: float
    outliving: float


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be."""

    job: str
    text: str

    def __str__(self) -> str:
        return f"job {self.job}: {self.text}"


def violations_of(book: Book, twins: Twins, engine: Engine, bounds: Bounds) -> Iterator[Violation]:
    """Hold one job against the promise's invariants 1 to 4."""
    for texts in (
        broken_readings(book),
        broken_rollups(book),
        broken_chronicle(book, bounds.overdue),
        broken_ending(book),
        broken_files(book, engine),
        outliving_trainers(book, bounds.outliving),
        differences(book, twins[book.job.spec_sha256]) if book.job.spec_sha256 in twins else (),
    ):
        yield from (Violation(book.title, text) for text in texts)
