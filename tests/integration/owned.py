"""A running job's book for tests: written under the fence, and read back to the bit."""

from sqlalchemy import Connection, Engine, func, select

from models.tables import iterations
from services.database import transaction
from services.pages import LayerReading, Page
from services.recording import Answer, Owner, flush
from tests.pretenders import BATCHES, epoch_of, make_rows, reading

LEASE_SECONDS = 6.0


def write(engine: Engine, owner: Owner, page: Page) -> Answer:
    with transaction(engine) as connection:
        return flush(connection, owner, page)


def bits_of(engine: Engine, key: int) -> list[tuple[bytes | None, ...]]:
    """The floats of each row as PostgreSQL holds them, byte by byte."""
    columns = (iterations.c[name] for name in ("loss", "lr", "seconds", "grad_norm"))
    with transaction(engine) as connection:
        rows = connection.execute(
            select(*(func.float8send(column) for column in columns))
            .where(iterations.c.job_key == key)
            .order_by(iterations.c.iteration)
        )
        return [tuple(row) for row in rows]


def fill(connection: Connection, owner: Owner) -> None:
    """Write three epochs with all that belongs to them."""
    for number in (1, 2, 3):
        flush(
            connection,
            owner,
            Page(
                rows=make_rows((number - 1) * BATCHES + 1, BATCHES),
                epochs=[epoch_of(number)],
                layers=[LayerReading(number * BATCHES, [reading(1.0)])],
                checkpoints=[
                    {
                        "iteration": number * BATCHES,
                        "uri": f"c{number}",
                        "sha256": "s",
                        "bytes": 1,
                    }
                ],
                artifacts=[{"name": "a", "kind": "k", "uri": "a", "sha256": "s", "bytes": 1}],
                summary={"best_metric": "m", "best_iteration": number * BATCHES},
                keep_checkpoints=9,
                running_seconds=float(number),
            ),
        )
