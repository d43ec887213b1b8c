"""Which fault comes when: a shuffled deck, so that chance decides the order and not the number."""

import random
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from foundation.faults import Moment
from tests.chaos.control import Action


class Harm(StrEnum):
    """What is done to the stack or its jobs from outside."""

    KILL_TRAINER = "kill -9 of a trainer"
    STALL_TRAINER = "SIGSTOP of a trainer until it is ended as stalled"
    KILL_WORKER = "kill -9 of a worker"
    STOP_WORKER = "SIGSTOP of a worker past its lease, then SIGCONT"
    TERMINATE_WORKER = "SIGTERM to a worker"
    KILL_API = "kill -9 of the API"
    TERMINATE_API = "SIGTERM to the API"
    KILL_POSTGRES = "kill -9 of PostgreSQL's postmaster"
    QUIT_POSTGRES = "immediate shutdown of PostgreSQL"
    KILL_VALKEY = "kill -9 of Valkey"
    FLUSH_VALKEY = "FLUSHALL of the broker"
    KILL_UP = "kill -9 of `gradbook up`"
    PAUSE = "pause, then resume"
    CANCEL = "cancel, then mostly retry"
    STOP = "stop"


class Strike(NamedTuple):
    """What is done to the first process that comes to a moment."""

    moment: Moment
    action: Action

    def __str__(self) -> str:
        return f"{self.action} at {self.moment}"


Fault = Harm | Strike
Hand = Sequence[Fault]

DECK: tuple[Fault, ...] = (
    *Harm,
    *(Strike(moment, action) for moment in Moment for action in (Action.KILL, Action.STOP)),
    Strike(Moment.AFTER_COMMIT, Action.LOSE),
    # The commit is sent to a server that is gone: its fate must be read back from one that may
    # have given the transaction's number to another by then.
    Strike(Moment.BEFORE_COMMIT, Action.CRASH),
)
ROUNDS_A_DECK = 20

SHORT: tuple[Fault, ...] = (
    Harm.KILL_TRAINER,
    Harm.KILL_WORKER,
    Harm.STOP_WORKER,
    Harm.KILL_API,
    Harm.KILL_POSTGRES,
    Harm.KILL_VALKEY,
    Harm.KILL_UP,
    Harm.PAUSE,
    Harm.CANCEL,
    Strike(Moment.CLAIM, Action.KILL),
    Strike(Moment.REWIND, Action.KILL),
    Strike(Moment.BEFORE_COPY, Action.STOP),
    Strike(Moment.AFTER_COPY, Action.STOP),
    Strike(Moment.BEFORE_COMMIT, Action.KILL),
    Strike(Moment.AFTER_COMMIT, Action.LOSE),
    Strike(Moment.CHECKPOINT_WRITTEN, Action.KILL),
)
SHORT_ROUNDS = 4
"""What a test has time for: each process once, each moment once, four faults a round."""


def deal(rounds: int, chance: random.Random, word: str = "") -> Iterator[Hand]:
    """A hand a round: one fault, or two at once in every other round.

    Twenty rounds play the whole deck, so 200 rounds play every harm ten times and come to every
    moment twenty times. With a word, only those faults are played whose names hold it.
    """
    cards = [fault for fault in DECK if word in str(fault)]
    size = min(ROUNDS_A_DECK, len(cards))
    for start in range(0, rounds, size):
        yield from hands(cards, size, chance)[: rounds - start]


def hands(cards: Sequence[Fault], count: int, chance: random.Random) -> list[Hand]:
    """Deal all cards, shuffled, into so many hands of a size that differs by one at most."""
    shuffled = chance.sample(cards, len(cards))
    dealt = [shuffled[place::count] for place in range(count)]
    return chance.sample(dealt, count)
