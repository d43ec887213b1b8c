"""Every error of the domain, named by what went wrong, with its facts as attributes.

    GradbookError
    ├── Invalid                 what was sent cannot be accepted
    │   ├── SpecInvalid         a spec breaks a rule; carries the place of each breach
    │   ├── QueryInvalid        a query parameter breaks a rule
    │   ├── CursorInvalid       a cursor this service did not make
    │   ├── FilterInvalid       a filter that cannot be understood; carries the position
    │   └── KeyReused           an Idempotency-Key that belongs to another request
    ├── Missing                 what was named does not exist
    │   ├── JobMissing
    │   ├── ArtifactMissing
    │   ├── MetricMissing
    │   └── JobsDeleted         what an Idempotency-Key made was deleted since
    ├── Conflict                the state of things forbids it
    │   ├── MoveForbidden       the job's state does not allow the move
    │   │   ├── RetryFutile     it would only repeat itself
    │   │   └── RowsArchived    its rows lie in a file, and can't be written on
    │   ├── Rewound             what a cursor had read was taken back
    │   └── FenceLost           another attempt owns the job, or none does
    ├── ArchiveSpoilt           a file of rows is gone, or not what was booked
    ├── ArchiveAway             a file of rows can't be read now
    └── NotBuilt                the contract names it; a later release builds it

No HTTP numbers here: api/problems.py maps each class to a status, and a test fails for one
that is not mapped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule: where it stands in what was sent, and what is wrong with it."""

    loc: Location
    msg: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.loc))}: {self.msg}" if self.loc else self.msg


class GradbookError(Exception):
    """The root: catch it only at a process's edge."""


class Invalid(GradbookError):
    """What was sent cannot be accepted.

    Args:
        breaches: every broken rule, in the order of what was sent.

    """

    def __init__(self, breaches: Sequence[Breach]) -> None:
        self.breaches = tuple(breaches)
        super().__init__("; ".join(map(str, breaches)))


class SpecInvalid(Invalid):
    """A spec breaks a rule."""


class QueryInvalid(Invalid):
    """A query parameter breaks a rule."""


class CursorInvalid(QueryInvalid):
    """The cursor was not made by this service, or for another list."""

    def __init__(self) -> None:
        super().__init__([Breach(("query", "cursor"), "not a cursor of this list")])


class FilterInvalid(Invalid):
    """A filter cannot be understood.

    Args:
        position: of the character at fault, from 1; one after the last where the end is.
        msg: what was found there, and what was expected.

    """

    def __init__(self, position: int, msg: str) -> None:
        self.position = position
        super().__init__([Breach(("query", "filter"), f"at character {position}: {msg}")])


class KeyReused(Invalid):
    """The Idempotency-Key was sent before, with another body or to another route."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            [Breach(("header", "idempotency-key"), "the key was used for another request")]
        )


class Missing(GradbookError):
    """What was named does not exist."""


class JobMissing(Missing):
    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"there is no job {job_id}")


class ArtifactMissing(Missing):
    def __init__(self, job_id: str, name: str) -> None:
        self.job_id, self.name = job_id, name
        super().__init__(f"job {job_id} has no artifact {name}")


class MetricMissing(Missing):
    def __init__(self, job_id: str, name: str) -> None:
        self.job_id, self.name = job_id, name
        super().__init__(f"job {job_id} has no metric {name}")


class JobsDeleted(Missing):
    """The Idempotency-Key made a job, or a batch of them, and one was deleted since."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            "a job that this Idempotency-Key made was deleted; to train again, send another key"
        )


class Conflict(GradbookError):
    """The state of things forbids it."""


class MoveForbidden(Conflict):
    """The job's state does not allow the move.

    Args:
        job_id: the job.
        state: the state that it is in.
        wanted: the action that was asked for ("cancel", "delete", …).

    """

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        self.job_id, self.state, self.wanted = job_id, state, wanted
        super().__init__(f"cannot {wanted} job {job_id}: it is {state}")


class RetryFutile(MoveForbidden):
    """The job diverged: the same spec would do so again.

    Args:
        job_id: the job.
        state: the state that it is in.

    """

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(job_id, state, "retry")
        self.args = (f"{self}, because it diverged, and would diverge again: change its spec",)


class RowsArchived(MoveForbidden):
    """The job's rows lie in a file: nothing can be trained on behind them.

    Args:
        job_id: the job.
        state: the state that it is in.

    """

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(job_id, state, "retry")
        self.args = (f"{self}, and its rows are archived: submit its spec as a new job",)


class Rewound(Conflict):
    """What a cursor had read was taken back by a rewind.

    Args:
        job_id: the job.
        iteration: the last iteration that stayed: read on after it.

    """

    def __init__(self, job_id: str, iteration: int) -> None:
        self.job_id, self.iteration = job_id, iteration
        super().__init__(
            f"job {job_id} went back to iteration {iteration}: forget the rows after it and "
            f"read on with from={iteration + 1}"
        )


class FenceLost(Conflict):
    """The attempt does not own its job any more: it must stop at once and write nothing."""

    def __init__(self, job_key: int, attempt: int) -> None:
        self.job_key, self.attempt = job_key, attempt
        super().__init__(f"attempt {attempt} does not own job #{job_key}")


class ArchiveSpoilt(GradbookError):
    """The file that holds a job's rows is gone, or is not what was booked.

    Args:
        job_id: the job.
        reason: what is wrong with it.

    """

    def __init__(self, job_id: str, reason: str) -> None:
        self.job_id, self.reason = job_id, reason
        super().__init__(f"the archived rows of job {job_id} cannot be read: {reason}")


class ArchiveAway(GradbookError):
    """The store of the file that holds a job's rows does not answer.

    Args:
        job_id: the job.

    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"the store with the archived rows of job {job_id} does not answer")


class NotBuilt(GradbookError):
    """The contract names it, and a later release builds it."""

    def __init__(self, feature: str) -> None:
        self.feature = feature
        super().__init__(f"{feature} is not built yet")
