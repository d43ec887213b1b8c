"""Code of a team's own: what a job needs of it, and what workers offer."""

from alembic import op

from migrations.statements import statements_of

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(statements_of("0006_own_code.sql"))


def downgrade() -> None:
    op.drop_column("workers", "entrypoints")
    op.drop_column("workers", "packages")
    op.drop_column("jobs", "packages")
