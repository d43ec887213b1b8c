"""Changing what may be changed of a job that is there: a JSON merge patch (RFC 7396)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, cast, select, update
from sqlalchemy.dialects.postgresql import JSONB

from models.domain.errors import MoveForbidden
from models.domain.lifecycle import State
from models.schemas.job_patch import EMPTY, merged
from models.tables import jobs
from services.lifecycle import Happening, add_events
from services.steering import lock

PRIORITY_MATTERS = frozenset({State.QUEUED, State.PAUSED})


def edit(connection: Connection, job_id: UUID, patch: object) -> None:
    """Change a job's name, notes, tags or priority; an `edited` event for each that changed.

    Raises:
        SpecInvalid: the patch names another field, or breaks a field's rule.
        JobMissing: there is no such job.
        MoveForbidden: it asks for another priority where the job does not wait any more.

    """
    key, state = lock(connection, job_id)
    fields = select(*(jobs.c[name] for name in EMPTY)).where(jobs.c.key == key)
    before = dict(connection.execute(fields).mappings().one())
    after = merged(patch, before)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if not changed:
        return
    if "priority" in changed and state not in PRIORITY_MATTERS:
        raise MoveForbidden(str(job_id), state, "change the priority of")
    write_edits(connection, key, before, changed)


def write_edits(
    connection: Connection, job_key: int, before: Mapping[str, Any], changed: Mapping[str, Any]
) -> None:
    """Change what a job has as columns and in its spec, in both, with an event for each.

    So the spec, POSTed again, makes the job as it is now.
    """
    spec = jobs.c.spec.op("||", return_type=JSONB())(cast(dict(changed), JSONB))
    connection.execute(update(jobs).where(jobs.c.key == job_key).values(**changed, spec=spec))
    add_events(
        connection,
        job_key,
        [
            Happening("edited", None, {"field": name, "from": before[name], "to": value})
            for name, value in changed.items()
        ],
    )
