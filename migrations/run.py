"""Bring a database to a revision, and tell whether it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Any constant will do: two migrations at once must agree on it.
ADVISORY_LOCK = 7_236_842_001
LOCK_TIMEOUT_SECONDS = 10


class SchemaBehind(RuntimeError):
    """The database's schema is not the one that this release needs."""

    def __init__(self, found: str | None, needed: str) -> None:
        self.found, self.needed = found, needed
        super().__init__(
            f"the database is at revision {found or 'none'}, this release needs {needed}: "
            "run `gradbook migrate`"
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
    """Migrate up (or down, where `revision` lies below) in one transaction.

    A second migration at the same time waits for the first and then finds nothing to do; a
    table that somebody holds longer than the lock time-out makes it give up rather than
    queue up in front of the readers.
    """
    config = _config()
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(
            text("SELECT set_config('lock_timeout', :timeout, true)"),
            {"timeout": f"{LOCK_TIMEOUT_SECONDS}s"},
        )
        config.attributes["connection"] = connection
        before = current_revision(connection)
        order = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
        below = revision == "base" or (
            revision in order and before in order and order.index(revision) > order.index(before)
        )
        (command.downgrade if below else command.upgrade)(config, revision)


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
