"""The book at scale: rollups."""

from alembic import op

from migrations.statements import statements_of

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(statements_of("0003_rollups.sql"))


def downgrade() -> None:
    op.drop_table("series_rollups")
    op.drop_table("rollups")
