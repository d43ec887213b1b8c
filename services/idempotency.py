"""Idempotency keys: what is submitted twice under one key is made once."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from foundation.ids import new_id
from models.domain.errors import JobsDeleted, KeyReused
from models.schemas.job import Job
from models.tables import idempotency_keys
from services.jobs import find_jobs
from services.submission import Draft, submit

KEPT = timedelta(days=7)
MOST_FORGOTTEN = 1_000
# Longer than a batch of a hundred takes, shorter than a client's patience.
LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that its client may send again: its key, and what it asks for."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submit is answered with.

    Attributes:
        replayed: an earlier request with the same key made these jobs; they are as they are now.

    """

    jobs: list[Job]
    replayed: bool


def request_sha256(route: str, body: object) -> str:
    """Hash what a request asks for: its route, and its body's JSON in canonical form.

    Canonical: names sorted, no spaces, characters beyond ASCII escaped, floats in their shortest
    text. So a body that another library writes anew stays the same, and two that differ in a
    value do not pass for each other: 1 is not 1.0, nor is a default written out one left out.
    """
    canonical = json.dumps([route, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def submit_once(
    connection: Connection, drafts: Sequence[Draft], request: KeyedRequest | None
) -> Submitted:
    """Make the drafts queued jobs, or find those that the request's key has made already.

    The key and its jobs are one transaction. Of two at once the second waits for the end of the
    first's, for at most LOCK_TIMEOUT: then the database refuses, and nothing was made. A key is
    taken before any job is locked.

    Raises:
        KeyReused: the key was used for another request.
        JobsDeleted: a job that the key has made was deleted since.
        SpecInvalid: a `parent` does not exist; the key stays free once this is rolled back.

    """
    if request is None:
        return Submitted(submit(connection, drafts), replayed=False)
    ids = [new_id() for _ in drafts]
    made = _take(connection, request, ids)
    if made is None:
        return Submitted(submit(connection, drafts, ids), replayed=False)
    found = find_jobs(connection, made)
    if len(found) < len(made):
        raise JobsDeleted(request.key)
    return Submitted(found, replayed=True)


def forget_old_keys(connection: Connection) -> int:
    """Delete keys that are older than KEPT, the oldest first, MOST_FORGOTTEN at most.

    Returns:
        How many they were.

    """
    old = (
        select(idempotency_keys.c.key)
        # Not clock_timestamp(): no index is looked up by what changes within a statement.
        .where(idempotency_keys.c.created_at < func.now() - KEPT)
        .order_by(idempotency_keys.c.created_at)
        .limit(MOST_FORGOTTEN)
        .with_for_update(skip_locked=True)
    )
    gone = connection.execute(delete(idempotency_keys).where(idempotency_keys.c.key.in_(old)))
    return gone.rowcount


def _take(
    connection: Connection, request: KeyedRequest, ids: Sequence[UUID]
) -> Sequence[UUID] | None:
    """Write the key down for these ids; where it is taken, tell which jobs it has made.

    Raises:
        KeyReused: it was taken by another request.

    """
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": LOCK_TIMEOUT}
    )
    taken = (
        insert(idempotency_keys)
        .values(key=request.key, request_sha256=request.sha256, job_ids=list(ids))
        .on_conflict_do_nothing(index_elements=[idempotency_keys.c.key])
        .returning(idempotency_keys.c.key)
    )
    known = select(idempotency_keys.c.request_sha256, idempotency_keys.c.job_ids).where(
        idempotency_keys.c.key == request.key
    )
    while connection.execute(taken).one_or_none() is None:
        found = connection.execute(known).one_or_none()
        # None: it was in the way a moment ago, and has been forgotten since.
        if found is not None:
            if found.request_sha256 != request.sha256:
                raise KeyReused(request.key)
            ids_made: Sequence[UUID] = found.job_ids
            return ids_made
    return None
