"""The app factory: the one place where the API's parts meet."""

import gc
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlalchemy import exc as database_errors

from api.compression import Compression
from api.connections import Connections
from api.dependencies import Parts
from api.documents import install_document
from api.headers import SafeHeaders
from api.health import Health
from api.leaving import Leaving, hearing_signals
from api.lookout import Lookout
from api.pages import install_pages
from api.problems import install_problem_handlers
from api.routes import include_routes
from api.tickets import Tickets
from foundation.logging import configure_logging, get_logger
from foundation.settings import Settings
from migrations.run import check_schema
from services.archive import Archives
from services.broker import make_celery, ticket
from services.database import close_engine, listening_url, make_engine
from services.hints import Notifier

log = get_logger("api")

DESCRIPTION = "An experiment-tracking training service: every iteration is in the book."

# A process that was stopped in the middle of a transaction holds a job's row for so long.
IDLE_SECONDS = 10.0

# A stream's connection is in use for seconds or minutes: who waits for one waits in vain.
STREAM_PATIENCE_SECONDS = 1.0


def create_app(settings: Settings, *, owns_process: bool = False) -> FastAPI:
    """Build the API; what it holds is opened when the app starts and closed when it stops.

    Args:
        settings: the service's.
        owns_process: whether the process is there for this app alone, until it ends.

    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.api.threads
        parts = _open_parts(settings)
        app.state.parts = parts
        if owns_process:
            _spare_what_is_loaded()
        with hearing_signals(parts.leaving):
            yield
        # Heard by now where a signal said so.
        parts.leaving.begin()
        await parts.lookout.close()
        parts.tickets.stop()
        parts.notifier.stop()
        # A request that was cut off may hold a connection still.
        close_engine(parts.engine)
        close_engine(parts.streams.engine)
        close_engine(parts.notifier.engine)
        parts.health.close()

    app = FastAPI(
        title="Gradbook",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Compression)
    app.add_middleware(SafeHeaders)
    install_problem_handlers(app)
    install_pages(app)
    include_routes(app)
    install_document(app)
    return app


def app_from_environment() -> FastAPI:
    """What `uvicorn --factory api.main:app_from_environment` serves."""
    settings = Settings()
    configure_logging(settings.log)
    # Each viewer is a socket. Many systems begin with 1,024 and allow as many as they can.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return create_app(settings, owns_process=True)


def _spare_what_is_loaded() -> None:
    """Leave what the process has by now out of all collections of garbage.

    That is some hundred thousand objects of modules and models, which stay until it ends. A full
    collection went through them while whoever asked something waited: 100 ms, again and again.
    """
    gc.collect()
    gc.freeze()


def _open_parts(settings: Settings) -> Parts:
    engine = make_engine(
        settings.database,
        application_name="gradbook api",
        statement_timeout=True,
        idle_timeout_seconds=IDLE_SECONDS,
    )
    try:
        check_schema(engine)
    except database_errors.OperationalError as error:
        # It may come up after us: /readyz says 503 until then.
        log.warning("database.away", error=str(error.orig))
    app = make_celery(settings.broker)
    tickets = Tickets(lambda queue: ticket(app, queue))
    tickets.start()
    size = settings.database.pool_size
    # Slow readers of long answers may use up these, and everybody else goes on. They are idle in
    # their transactions for as long as a client takes nothing, so no time-out ends these.
    streams = make_engine(
        settings.database, application_name="gradbook api streams", statement_timeout=True
    )
    notifier = Notifier(_alone(settings, "gradbook api notifier"))
    notifier.start()
    connections = Connections(engine, size)
    leaving = Leaving()
    archives = Archives(settings.artifacts_url)
    return Parts(
        settings=settings,
        engine=engine,
        connections=connections,
        streams=Connections(streams, size, STREAM_PATIENCE_SECONDS),
        leaving=leaving,
        lookout=Lookout(
            connections,
            leaving,
            listening_url(settings.database),
            most_viewers=settings.api.viewers,
            archives=archives,
        ),
        tickets=tickets,
        notifier=notifier,
        archives=archives,
        health=Health(settings),
    )


def _alone(settings: Settings, name: str) -> Engine:
    """A connection of one's own: it takes no turn from requests, and waits for none."""
    room = settings.database.model_copy(update={"pool_size": 1})
    return make_engine(room, application_name=name, statement_timeout=True)
