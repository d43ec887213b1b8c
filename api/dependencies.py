"""What routes ask for: settings, a transaction, a snapshot, something to do after the commit."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection, Engine

from api.connections import Connections
from api.health import Health
from api.leaving import Leaving
from api.lookout import Lookout
from api.parameters import JobId
from api.tickets import Tickets
from foundation.settings import Settings
from services.archive import Archives
from services.hints import Notifier


@dataclass(frozen=True, slots=True)
class Parts:
    """What one API process is made of; the app factory builds it, once."""

    settings: Settings
    engine: Engine
    connections: Connections
    streams: Connections
    leaving: Leaving
    lookout: Lookout
    tickets: Tickets
    notifier: Notifier
    archives: Archives
    health: Health


def parts_of(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


# Async, though nothing is awaited: FastAPI takes a thread for every dependency that is not.
async def parts(request: Request) -> Parts:
    return parts_of(request)


PartsDependency = Annotated[Parts, Depends(parts)]


async def settings(request: Request) -> Settings:
    return parts_of(request).settings


async def tickets(request: Request) -> Tickets:
    return parts_of(request).tickets


async def notifier(request: Request) -> Notifier:
    return parts_of(request).notifier


async def archives(request: Request) -> Archives:
    return parts_of(request).archives


class AfterCommit(list[Callable[[], None]]):
    """Steps that run once the request's transaction is committed, and only then."""


# FastAPI runs what stands after `yield` before the answer leaves only where the dependency's
# scope is "function"; otherwise a failed commit would answer 201. Exits run in the reverse
# order of entering, so what the connection depends on ends after the commit.
async def after_commit() -> AsyncIterator[AfterCommit]:
    steps = AfterCommit()
    yield steps
    for step in steps:
        await run_in_threadpool(step)


NotifierDependency = Annotated[Notifier, Depends(notifier)]
AfterCommitDependency = Annotated[AfterCommit, Depends(after_commit, scope="function")]


async def job_changed(
    job_id: JobId, steps: AfterCommitDependency, notifier: NotifierDependency
) -> None:
    steps.append(partial(notifier.tell, job_id))


JobChanged = Depends(job_changed)
"""For routes that change the job of their path: who watches it is told, after the commit."""


async def connection(request: Request, _after: AfterCommitDependency) -> AsyncIterator[Connection]:
    """One request is one transaction, committed before the answer leaves."""
    async with parts_of(request).connections.transaction() as opened:
        yield opened


async def snapshot_connection(request: Request) -> AsyncIterator[Connection]:
    """For answers that need several statements: all of them see the same moment."""
    async with parts_of(request).connections.snapshot() as opened:
        yield opened


SettingsDependency = Annotated[Settings, Depends(settings)]
ArchivesDependency = Annotated[Archives, Depends(archives)]
TicketsDependency = Annotated[Tickets, Depends(tickets)]
ConnectionDependency = Annotated[Connection, Depends(connection, scope="function")]
SnapshotDependency = Annotated[Connection, Depends(snapshot_connection, scope="function")]
