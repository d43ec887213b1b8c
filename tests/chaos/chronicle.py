"""Events, attempts and states: do they tell one story, without a gap and without a lie?"""

import itertools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row

from models.domain.lifecycle import MOVES, Outcome, State
from tests.chaos.book import Book

BAD = frozenset(
    {
        Outcome.LOST,
        Outcome.KILLED,
        Outcome.OUT_OF_MEMORY,
        Outcome.STALLED,
        Outcome.ERROR,
        Outcome.DIVERGED,
    }
)
SIGKILL = 9


def broken_chronicle(book: Book, most_overdue_seconds: float) -> Iterator[str]:
    """Say what of invariants 3 and 4 does not hold.

    Args:
        book: the job's.
        most_overdue_seconds: how long a lease may be over before somebody must have taken
            the job from its attempt.

    """
    yield from _events(book)
    yield from _walk(book)
    yield from _ownership(book, most_overdue_seconds)
    for attempt in book.attempts:
        yield from _outcome(attempt)
    yield from _ways(book)


def _events(book: Book) -> Iterator[str]:
    ids = [event.id for event in book.events]
    if ids != list(range(1, book.progress.last_event + 1)):
        wrong = next((at for at, number in enumerate(ids, 1) if at != number), len(ids) + 1)
        yield f"event ids are not 1 to {book.progress.last_event}: wrong at {wrong}"
    told = sum(event.type == "rewound" for event in book.events)
    if told != book.progress.rewinds:
        yield f"{told} rewinds are told, {book.progress.rewinds} are counted"


def _walk(book: Book) -> Iterator[str]:
    moves = [
        (event.data["from"], event.data["to"]) for event in book.events if event.type == "state"
    ]
    if not moves or moves[0] != (None, State.QUEUED):
        yield f"the first move is {moves[:1]}"
        return
    for (_, before), (from_, to) in itertools.pairwise(moves):
        if before != from_ or State(to) not in MOVES[State(from_)]:
            yield f"after a move to {before} comes one from {from_} to {to}"
    if moves[-1][1] != book.job.state:
        yield f"the events end in {moves[-1][1]}"


def _ownership(book: Book, most_overdue_seconds: float) -> Iterator[str]:
    numbers = [attempt.number for attempt in book.attempts]
    if numbers != list(range(1, book.job.attempts_made + 1)):
        yield f"attempts are {numbers}, {book.job.attempts_made} were made"
    still_open = [attempt.number for attempt in book.attempts if attempt.ended_at is None]
    running = book.job.state == State.RUNNING
    fence, lease = book.progress.attempt, book.progress.lease_until
    if still_open != ([fence] if running else []) or (fence is None) == running:
        yield f"attempts {still_open} are open, attempt {fence} owns the job"
    if running and fence != book.job.attempts_made:
        yield f"attempt {fence} owns the job, {book.job.attempts_made} is the newest"
    if running and lease is not None:
        overdue = (book.now - lease).total_seconds()
        if overdue > most_overdue_seconds:
            yield f"it is running, and its lease has been over for {overdue:.1f} s"


def _outcome(attempt: Row[Any]) -> Iterator[str]:
    if (attempt.outcome is None) != (attempt.ended_at is None):
        yield f"attempt {attempt.number} ended at {attempt.ended_at} as {attempt.outcome}"
    if attempt.outcome in BAD and not (attempt.error or {}).get("message"):
        yield f"attempt {attempt.number} is {attempt.outcome} without evidence"
    if attempt.outcome == Outcome.KILLED and attempt.signal != SIGKILL:
        yield f"attempt {attempt.number} is killed by signal {attempt.signal}"


def _ways(book: Book) -> Iterator[str]:
    """Follow k from attempt to attempt: each goes on where the book was, or was taken back to."""
    k = 0
    for attempt in book.attempts:
        for event in _rewinds(book, attempt.number):
            from_, to = event.data["from"], event.data["to"]
            if from_ != k or not 0 <= to <= from_:
                yield f"attempt {attempt.number} rewound from {from_} to {to} at {k}"
            k = to
        first, last = attempt.first_iteration, attempt.last_iteration
        if first != k + 1:
            yield f"attempt {attempt.number} begins with {first}, the book stood at {k}"
        if attempt.ended_at is None:
            return
        if last is not None:
            if last < k + 1:
                yield f"attempt {attempt.number} goes from {first} to {last}"
            k = last
    if k != book.progress.iteration:
        yield f"the attempts end at {k}, the book at {book.progress.iteration}"


def _rewinds(book: Book, number: int) -> list[Row[Any]]:
    return [event for event in book.events if event.type == "rewound" and event.attempt == number]
