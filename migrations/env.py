"""What Alembic runs: a revision, in the transaction that migrations.run hands in."""

from alembic import context

from models.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
