"""Networks by their hash, so that what their layers say is looked up once each."""

from alembic import op

from migrations.statements import statements_of

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(statements_of("0007_networks.sql"))


def downgrade() -> None:
    op.execute(statements_of("0007_networks_down.sql"))
