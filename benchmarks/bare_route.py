"""A FastAPI application that does the least a status poll could: one SELECT by a primary key.

What bench_poll holds the service's own route against; uvicorn runs it as `gradbook api` runs ours.
"""

import sys
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy import Connection, select

from foundation.settings import Settings
from models.tables import jobs
from services.database import make_engine

app = FastAPI()
engine = make_engine(Settings().database, application_name="bare route")


def connection() -> Any:  # noqa: ANN401 - a generator, as FastAPI wants it
    with engine.connect() as opened:
        yield opened


@app.get("/readyz")
async def ready() -> None:
    """Say that it serves."""


@app.get("/jobs/{key}")
def read_job(key: int, opened: Annotated[Connection, Depends(connection)]) -> dict[str, Any]:
    """Read what little a row says of its job."""
    found = select(jobs.c.id, jobs.c.name, jobs.c.state).where(jobs.c.key == key)
    return dict(opened.execute(found).one()._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a mapping


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
    )
