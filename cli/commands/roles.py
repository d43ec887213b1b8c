"""One role each, for deployments: `migrate`, `api`, `worker`; and `up` and `demo`, which run
them all.

A role's room is imported when its command runs: the api process never loads torch, and
`gradbook --help` loads none of them.
"""

# ruff: noqa: PLC0415 - the docstring says why

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.errors import DatabaseAway, SettingsInvalid, WorkerUnfit

if TYPE_CHECKING:
    from foundation.settings import Settings

NO_DATABASE_URL = "GRADBOOK_DATABASE_URL: not the URL of a database"

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)]
Slots = Annotated[
    int | None,
    typer.Option(
        help="Jobs at once; a slot a GPU, or one without a GPU, where left out.",
        min=1,
        show_default=False,
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(help="The data folder; GRADBOOK_HOME or .gradbook where left out."),
]


def add_to(app: typer.Typer) -> None:
    for command in (up, demo, migrate, api, worker):
        app.command()(command)


def read_settings() -> "Settings":
    """Read the environment once.

    Raises:
        SettingsInvalid: a variable's value is refused; names the variable, never its value.

    """
    from pydantic import ValidationError

    from foundation.settings import Settings

    try:
        return Settings()
    except ValidationError as invalid:
        lines = [
            f"GRADBOOK_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}"
            for error in invalid.errors(include_input=False)
        ]
        raise SettingsInvalid("\n".join(lines)) from None


def up(
    home: Home = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    slots: Slots = None,
) -> None:
    """Run everything on this machine: PostgreSQL, Valkey, API and worker, until Ctrl-C.

    A job that runs when it stops starts again from iteration 1 at the next `up`.
    """
    from cli.stack.up import run_stack

    settings = read_settings()
    raise typer.Exit(run_stack(home or settings.home, host, port, slots, settings=settings))


def demo(
    home: Home = None,
    port: Port = 8000,
) -> None:
    """Everything from nothing: the embedded stack, one real training job, and its numbers."""
    from cli.demo import run_demo

    settings = read_settings()
    raise typer.Exit(run_demo(home or settings.home, port, settings))


def migrate() -> None:
    """Bring the database at GRADBOOK_DATABASE_URL to this release's schema."""
    from sqlalchemy.exc import ArgumentError, OperationalError

    from migrations.run import MigrationStopped, newest_revision
    from migrations.run import migrate as run_migrations
    from services.database import DatabaseUrlMissing, make_engine

    try:
        engine = make_engine(read_settings().database, application_name="gradbook migrate")
        run_migrations(engine)
    except DatabaseUrlMissing as missing:
        raise DatabaseAway(str(missing)) from None
    except ArgumentError:
        raise SettingsInvalid(NO_DATABASE_URL) from None
    except MigrationStopped as stopped:
        raise DatabaseAway(str(stopped)) from None
    except OperationalError as away:
        raise DatabaseAway(f"the database does not do as asked: {away.orig}") from None
    engine.dispose()
    typer.echo(f"the database is at revision {newest_revision()}")


def api(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(help="Processes that share the port.", min=1)] = 1,
) -> None:
    """Serve the REST API until SIGTERM or Ctrl-C."""
    import uvicorn

    from api.leaving import GRACE_SECONDS

    settings = read_settings()
    _require_services(settings)
    _require_schema(settings)
    # uvicorn raises the signal that ended it once more when it is done: to have been asked to
    # stop, and to have stopped, is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "api.main:app_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        timeout_graceful_shutdown=GRACE_SECONDS,
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
    )


def worker(slots: Slots = None) -> None:
    """Train queued jobs until SIGTERM or Ctrl-C."""
    if slots is not None:
        os.environ["GRADBOOK_WORKER_SLOTS"] = str(slots)
    settings = read_settings()
    _require_services(settings)

    from migrations.run import SchemaBehind
    from worker.forkserver import ForkserverUnfit
    from worker.main import run_worker

    try:
        run_worker(settings)
    except SchemaBehind as behind:
        raise DatabaseAway(str(behind)) from None
    except ForkserverUnfit as unfit:
        raise WorkerUnfit(str(unfit)) from None


def _require_services(settings: "Settings") -> None:
    """Say what is not configured before anything heavy is loaded.

    Raises:
        DatabaseAway: no database, or no broker, is named.

    """
    for name, url in (("DATABASE", settings.database.url), ("BROKER", settings.broker.url)):
        if url is None or not url.get_secret_value():
            raise DatabaseAway(
                f"GRADBOOK_{name}_URL is not set: name a server, or run `gradbook up`, "
                "which brings its own"
            )


def _require_schema(settings: "Settings") -> None:
    """Refuse an old schema in words; the API would say the same in a traceback.

    Raises:
        DatabaseAway: a migration is still to be run. One that does not answer may come later.

    """
    from sqlalchemy.exc import ArgumentError, OperationalError

    from migrations.run import SchemaBehind, check_schema
    from services.database import make_engine

    try:
        engine = make_engine(settings.database, application_name="gradbook api")
        with contextlib.suppress(OperationalError):
            check_schema(engine)
        engine.dispose()
    except SchemaBehind as behind:
        raise DatabaseAway(str(behind)) from None
    except ArgumentError:
        raise SettingsInvalid(NO_DATABASE_URL) from None
