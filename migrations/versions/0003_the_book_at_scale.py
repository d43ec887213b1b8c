"""The book at scale: rollups, metrics of a trainer's own, and what searches read."""

from alembic import op

from migrations.statements import statements_of

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(statements_of("0003_rollups.sql"))
    op.execute(statements_of("0003_remains.sql"))
    op.execute(statements_of("0003_metrics.sql"))
    op.execute(statements_of("0003_search.sql"))
    op.execute(statements_of("0003_retention.sql"))


def downgrade() -> None:
    op.execute(statements_of("0003_retention_down.sql"))
    op.execute(statements_of("0003_search_down.sql"))
    op.execute("DROP VIEW v_metrics, v_metric_values")
    op.drop_table("metric_values")
    op.drop_table("metrics")
    op.drop_table("remains")
    op.drop_table("series_rollups")
    op.drop_table("rollups")
