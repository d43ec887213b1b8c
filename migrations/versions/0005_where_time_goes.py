"""Where each epoch's time went."""

from alembic import op

from migrations.statements import statements_of

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(statements_of("0005_where_time_goes.sql"))


def downgrade() -> None:
    op.execute(statements_of("0005_where_time_goes_down.sql"))
