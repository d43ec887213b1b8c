"""Bring a database to a revision, and tell whether it is there."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from migrations.pieces import begin

# Any constant will do: two migrations at once must agree on it.
ADVISORY_LOCK = 7_236_842_001
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.2
# A deadlock, a lock time-out: somebody was in the way, and is soon gone.
_IN_THE_WAY = ("40P01", "55P03")


class SchemaBehind(RuntimeError):
    """The database's schema is not the one that this release needs."""

    def __init__(self, found: str | None, needed: str) -> None:
        self.found, self.needed = found, needed
        super().__init__(
            f"the database is at revision {found or 'none'}, this release needs {needed}: "
            "run `gradbook migrate`"
        )


class MigrationStopped(RuntimeError):
    """A revision can't be reached; those before it are, and another `migrate` goes on there."""

    def __init__(self, revision: str, cause: BaseException | None) -> None:
        self.revision = revision
        super().__init__(
            f"the migration stopped on its way to revision {revision}, and goes on there when "
            f"`gradbook migrate` is run again: {cause}"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def newest_revision() -> str:
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("the migrations have no head")
    return revision


def current_revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine, revision: str = "head") -> None:
    """Migrate up, or down where `revision` lies below, each revision in a transaction of its own.

    In one for all of them, what the first has locked would be shut until the last is done. A
    second migration at the same time waits for the first and then finds nothing to do.

    Raises:
        MigrationStopped: a revision failed, or somebody was in its way for `PATIENCE_SECONDS`.

    """
    config = _config()
    with _alone(engine), engine.connect() as connection:
        config.attributes["connection"] = connection
        before = current_revision(connection)
        connection.rollback()
        for step, goal in _steps(ScriptDirectory.from_config(config), before, revision):
            _take(connection, goal, partial(step, config, goal))


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the lock of migrations meanwhile.

    A transaction's lock, not a session's: a pooler may give a session's to somebody else. This
    transaction only waits: it holds no table, and keeps no vacuum from its work.
    """
    with engine.connect() as guard:
        # The pool may have no more than one, and that is for the migration's own work.
        guard.detach()
        guard.execute(text("SELECT set_config('idle_in_transaction_session_timeout', '0', true)"))
        guard.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        yield


_Step = tuple[Callable[[Config, str], None], str]


def _steps(script: ScriptDirectory, before: str | None, revision: str) -> list[_Step]:
    """What is to be run, one revision each; Alembic itself tells of those that it can't find."""
    order = ["base", *reversed([each.revision for each in script.walk_revisions()])]
    goal = order[-1] if revision == "head" else revision
    if (before or "base") not in order or goal not in order:
        return [(command.upgrade, revision)]
    begin_at, end_at = order.index(before or "base"), order.index(goal)
    if end_at < begin_at:
        return [(command.downgrade, each) for each in reversed(order[end_at:begin_at])]
    return [(command.upgrade, each) for each in order[begin_at + 1 : end_at + 1]]


def _take(connection: Connection, goal: str, step: Callable[[], None]) -> None:
    """Run a step, and again where somebody was in its way: it waits for no lock for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            begin(connection)
            step()
            connection.commit()
        except DBAPIError as error:
            connection.rollback()
            in_the_way = getattr(error.orig, "sqlstate", None) in _IN_THE_WAY
            if not in_the_way or time.monotonic() > deadline:
                raise MigrationStopped(goal, error.orig) from error
            time.sleep(PAUSE_SECONDS)
        else:
            return


def check_schema(engine: Engine) -> None:
    """Make sure that the database is at this release's revision or one that came after it.

    Expand first, contract later: a worker one release older goes on at a newer revision.

    Raises:
        SchemaBehind: a migration is still to be run.

    """
    script = ScriptDirectory.from_config(_config())
    known = {step.revision for step in script.walk_revisions()}
    with engine.connect() as connection:
        found = current_revision(connection)
    needed = newest_revision()
    if found is None or (found in known and found != needed):
        raise SchemaBehind(found, needed)
