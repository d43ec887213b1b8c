"""All that grows with a job's length is removed in batches, and has no foreign key."""

from alembic import op

from migrations.statements import statements_of

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(statements_of("0004_leftovers.sql"))


def downgrade() -> None:
    op.execute(statements_of("0004_leftovers_down.sql"))
