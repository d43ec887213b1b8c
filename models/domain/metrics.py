"""Metrics of a trainer's own: named numbers beside those that the book has of every iteration."""

import re
from enum import StrEnum
from typing import NamedTuple

MOST_METRICS = 200
"""In a job."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_./-]{0,99}")


class MetricKind(StrEnum):
    """What a metric's values are of.

    That of an epoch stands at the epoch's last iteration, and goes where that epoch goes.
    """

    ITERATION = "iteration"
    EPOCH = "epoch"


class Metric(NamedTuple):
    name: str
    kind: MetricKind


class MetricsBroken(RuntimeError):
    """A trainer's mistake with its metrics: a name or an iteration that can't be booked."""


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Let a name pass that paths, filters and files can hold.

    Raises:
        MetricsBroken: it is none.

    """
    if not is_name(name):
        rule = "a letter or _, then at most 99 letters, digits, _ . / -"
        raise MetricsBroken(f"{name[:120]!r} can't name a metric: {rule}")
