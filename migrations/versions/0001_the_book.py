"""The book: jobs, attempts, readings, happenings, files, the fleet, and the stable views."""

from alembic import op

from migrations.statements import statements_of

revision = "0001"
down_revision = None

VIEWS = ("v_attempts", "v_epochs", "v_iterations", "v_jobs")
TABLES = (
    "workers",
    "checkpoints",
    "artifacts",
    "logs",
    "events",
    "layer_readings",
    "epochs",
    "iterations",
    "attempts",
    "summaries",
    "progress",
    "jobs",
)


def upgrade() -> None:
    op.execute(statements_of("0001_tables.sql"))
    op.execute(statements_of("0001_views.sql"))


def downgrade() -> None:
    """Leave nothing but the role, which belongs to the server and not to this database."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for table in TABLES:
        op.drop_table(table)
