"""What the lifecycle machine knows of each job, and its book held against that."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from models.domain.lifecycle import MOVES, State, Wish
from models.tables import attempts, checkpoints, epochs, events, iterations
from tests.pretenders import BATCHES, make_rows

MAX_ATTEMPTS = 3
STRENGTH = {None: 0, Wish.PAUSE: 1, Wish.STOP: 2, Wish.CANCEL: 3}


@dataclass
class Known:
    """What the model knows of a job; `silent`: its worker is dead, and nobody has noticed."""

    priority: int
    state: State = State.QUEUED
    rows: int = 0
    attempts: int = 0
    failures: int = 0
    wanted: Wish | None = None
    rewinds: int = 0
    silent: bool = False
    diverged: bool = False
    kept: list[int] = field(default_factory=list)

    def want(self, wish: Wish) -> None:
        if STRENGTH[wish] > STRENGTH[self.wanted]:
            self.wanted = wish

    def end(self, state: State) -> None:
        self.state, self.wanted, self.silent = state, None, False

    def go_back(self, *, counted: bool) -> None:
        """An attempt ended, and the job did not: where it goes then."""
        self.silent = False
        if self.wanted is Wish.CANCEL:
            self.end(State.CANCELLED)
            return
        self.failures += counted
        if counted and self.failures >= MAX_ATTEMPTS:
            self.end(State.FAILED)
        elif self.wanted is Wish.PAUSE:
            self.end(State.PAUSED)
        else:
            self.state = State.QUEUED


def check_rows(connection: Connection, key: int, job: Known) -> None:
    """Rows are 1 to k, each once, with the losses that were delivered; epochs as they closed."""
    booked = connection.execute(
        select(iterations.c.iteration, iterations.c.loss)
        .where(iterations.c.job_key == key)
        .order_by(iterations.c.iteration)
    ).all()
    expected = make_rows(1, job.rows)
    assert [tuple(row) for row in booked] == expected[["iteration", "loss"]].tolist()
    closed = connection.execute(
        select(epochs.c.epoch).where(epochs.c.job_key == key).order_by(epochs.c.epoch)
    ).scalars()
    assert list(closed) == list(range(1, job.rows // BATCHES + 1))
    kept = connection.execute(
        select(checkpoints.c.iteration)
        .where(checkpoints.c.job_key == key)
        .order_by(checkpoints.c.iteration)
    ).scalars()
    assert list(kept) == job.kept


def check_attempts(connection: Connection, key: int, job: Known) -> None:
    tries = connection.execute(
        select(attempts).where(attempts.c.job_key == key).order_by(attempts.c.number)
    ).all()
    assert [row.number for row in tries] == list(range(1, job.attempts + 1))
    still_open = [row.number for row in tries if row.ended_at is None]
    assert still_open == ([job.attempts] if job.state is State.RUNNING else [])
    assert all((row.outcome is None) == (row.ended_at is None) for row in tries)


def check_events(connection: Connection, row: Row[Any], job: Known) -> None:
    """Numbered without gaps; the states they tell are a walk along MOVES to where the job is."""
    told = connection.execute(
        select(events).where(events.c.job_key == row.key).order_by(events.c.id)
    ).all()
    assert [event.id for event in told] == list(range(1, row.last_event + 1))
    moves = [(event.data["from"], event.data["to"]) for event in told if event.type == "state"]
    assert moves[0] == (None, "queued")
    for (_, before), (from_, to) in itertools.pairwise(moves):
        assert before == from_
        assert State(to) in MOVES[State(from_)]
    assert moves[-1][1] == job.state
    assert [event.type for event in told].count("rewound") == job.rewinds
