"""The schema, step by step (Alembic). `migrations.run` brings a database to the newest."""
