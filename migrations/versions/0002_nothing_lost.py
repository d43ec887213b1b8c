"""Nothing lost: evidence of bad ends, time spent waiting, idempotency keys."""

from alembic import op

from migrations.statements import statements_of

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(statements_of("0002_tables.sql"))
    op.execute(statements_of("0002_views.sql"))


def downgrade() -> None:
    # A view's columns can only be added to.
    op.execute("DROP VIEW v_attempts")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_jobs_ended_badly", "jobs")
    op.drop_column("attempts", "error")
    op.drop_column("attempts", "waited_seconds")
    op.execute(statements_of("0001_v_attempts.sql"))
