"""Trainers that outlive their attempt: whoever lost its job must fall silent and go."""

import contextlib
from collections.abc import Iterator

import psutil

from cli.stack.process import is_gone
from tests.chaos.book import Book


def outliving_trainers(book: Book, most_seconds: float) -> Iterator[str]:
    """Say which attempts' trainers still run, longer than that after the attempt's end."""
    for attempt in book.attempts:
        if attempt.ended_at is None or attempt.pid is None:
            continue
        late = (book.now - attempt.ended_at).total_seconds()
        if late > most_seconds and _is_the_trainer(attempt.pid, attempt.ended_at.timestamp()):
            yield f"attempt {attempt.number} ended {late:.1f} s ago, trainer {attempt.pid} runs on"


def _is_the_trainer(pid: int, ended_at: float) -> bool:
    """Whether the process is there and is older than the attempt's end: pids come again."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return not is_gone(process) and process.create_time() < ended_at
    return False
