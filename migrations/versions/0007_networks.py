"""Networks by their hash, so that what their layers say is looked up once each.

The hashes of jobs that are there are written in batches, a transaction each: it takes a quarter of
a millisecond a job, in which nobody else could submit or list one. Nothing reads them before the
last is written: a release that would, refuses to start until the revision is there, and the one
before knows nothing of the column.
"""

from alembic import op
from sqlalchemy import Connection, text

from migrations.pieces import commit_piece
from migrations.statements import query_of, statements_of

revision = "0007"
down_revision = "0006"

BATCH_JOBS = 1_000
DOCUMENTS = ("spec", "plan")


def upgrade() -> None:
    connection = op.get_bind()
    op.execute(statements_of("0007_networks.sql"))
    commit_piece(connection)
    # Jobs that come from here on have theirs.
    for document in DOCUMENTS:
        _fill(connection, document)
    op.execute(statements_of("0007_indexes.sql"))


def downgrade() -> None:
    op.execute(statements_of("0007_networks_down.sql"))


def _fill(connection: Connection, document: str) -> None:
    fill = query_of(f"0007_fill_{document}s.sql")
    last = connection.scalar(text("SELECT coalesce(max(key), 0) FROM jobs"))
    reached: int | None = 0
    while reached is not None:
        reached = connection.scalar(fill, {"after": reached, "last": last, "most": BATCH_JOBS})
        commit_piece(connection)
