"""Programs of a team's own: how they end."""

from alembic import op

from migrations.statements import statements_of

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute(statements_of("0008_programs.sql"))


def downgrade() -> None:
    op.execute(statements_of("0008_programs_down.sql"))
