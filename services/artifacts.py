"""Reading a job's files: weights, checkpoints, network, evaluation, environment.

A name is looked up in the tables and never becomes part of a path.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from uuid import UUID

import orjson
from sqlalchemy import Connection, select

from models.domain.errors import ArtifactMissing
from models.tables import artifacts, attempts, checkpoints
from services.book import open_book

ENVIRONMENT = "environment.json"
Content = bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a job: where it lies, or, for what the book itself holds, its content."""

    name: str
    kind: str
    bytes: int
    sha256: str
    created_at: datetime
    uri: str | None = None
    content: Content | None = None


def list_artifacts(connection: Connection, job_id: UUID) -> Sequence[StoredFile]:
    """List a job's files by name.

    Raises:
        JobMissing: there is no such job.

    """
    key = open_book(connection, job_id).job_key
    stored = [*_written(connection, key), *_checkpoints(connection, key)]
    built = _environment(connection, key)
    files = {file.name: file for file in [*stored, *built]}
    return [files[name] for name in sorted(files)]


def find_artifact(connection: Connection, job_id: UUID, name: str) -> StoredFile:
    """Find one file of a job.

    Raises:
        JobMissing: there is no such job.
        ArtifactMissing: it has no file of this name.

    """
    for file in list_artifacts(connection, job_id):
        if file.name == name:
            return file
    raise ArtifactMissing(str(job_id), name)


def _written(connection: Connection, job_key: int) -> list[StoredFile]:
    rows = connection.execute(
        select(
            artifacts.c.name,
            artifacts.c.kind,
            artifacts.c.bytes,
            artifacts.c.sha256,
            artifacts.c.created_at,
            artifacts.c.uri,
        ).where(artifacts.c.job_key == job_key)
    )
    return [StoredFile(*row) for row in rows]


def _checkpoints(connection: Connection, job_key: int) -> list[StoredFile]:
    rows = connection.execute(select(checkpoints).where(checkpoints.c.job_key == job_key))
    return [
        StoredFile(
            f"checkpoint-{row.iteration}-{row.attempt}{PurePosixPath(row.uri).suffix}",
            "checkpoint",
            row.bytes,
            row.sha256,
            row.created_at,
            row.uri,
        )
        for row in rows
    ]


def _environment(connection: Connection, job_key: int) -> list[StoredFile]:
    """Make the file that tells, for each attempt, where and with what it ran."""
    rows = connection.execute(
        select(attempts.c.number, attempts.c.environment, attempts.c.started_at)
        .where(attempts.c.job_key == job_key, attempts.c.environment.is_not(None))
        .order_by(attempts.c.number)
    ).all()
    if not rows:
        return []
    entries = [{"attempt": row.number, **row.environment} for row in rows]
    content = orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(content).hexdigest()
    return [
        StoredFile(
            ENVIRONMENT,
            "environment",
            len(content),
            digest,
            rows[-1].started_at,
            content=content,
        )
    ]
