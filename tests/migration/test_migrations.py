"""One head; up from empty equals the declared tables; down and up again."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from migrations.run import SchemaBehind, _config, check_schema, migrate
from models.tables import metadata

_TWO_JOBS = """
    WITH made AS (
        INSERT INTO jobs (id, name, project, queue, notes, tags, priority, max_attempts, device,
            spec, spec_sha256, plan, reproducible)
        SELECT gen_random_uuid(), name, 'default', 'default', '', '{}', 0, 3, 'cpu', '{}', '', '{}',
            true
        FROM (VALUES ('kept'), ('gone')) AS named (name)
        RETURNING key
    )
    INSERT INTO events (job_key, id, type, data) SELECT key, 1, 'warning', '{}' FROM made
"""

pytestmark = pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")


def test_the_migrations_have_one_head() -> None:
    assert len(ScriptDirectory.from_config(_config()).get_heads()) == 1


def test_up_from_empty_equals_the_declared_tables(empty_database: Engine) -> None:
    migrate(empty_database)
    with empty_database.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_declared_checks_stand_in_the_database(empty_database: Engine) -> None:
    migrate(empty_database)
    inspector = inspect(empty_database)
    for table in metadata.tables.values():
        declared = {
            str(constraint.name)
            for constraint in table.constraints
            if str(constraint.name).startswith("ck_")
        }
        found = {check["name"] for check in inspector.get_check_constraints(table.name)}
        assert found == declared, table.name


def test_down_to_empty_and_up_again(empty_database: Engine) -> None:
    migrate(empty_database)
    migrate(empty_database, "base")
    assert inspect(empty_database).get_table_names() == ["alembic_version"]
    assert inspect(empty_database).get_view_names() == []
    migrate(empty_database)
    check_schema(empty_database)


def test_a_second_migration_finds_nothing_to_do(empty_database: Engine) -> None:
    migrate(empty_database)
    migrate(empty_database)
    check_schema(empty_database)


def test_a_database_without_the_schema_is_named_with_the_cure(empty_database: Engine) -> None:
    with pytest.raises(SchemaBehind, match="run `gradbook migrate`"):
        check_schema(empty_database)


def test_what_deleted_jobs_have_left_is_taken_over_both_ways(empty_database: Engine) -> None:
    """Neither release leaves rows of the other's deletions; no row of a job that is there goes."""
    migrate(empty_database, "0003")
    with empty_database.begin() as connection:
        connection.execute(text(_TWO_JOBS))
        connection.execute(text("INSERT INTO remains (job_key, place) VALUES (77, 3)"))
    migrate(empty_database)
    with empty_database.begin() as connection:
        left = text("SELECT count(*) FROM leftovers WHERE job_key = 77")
        # An epoch of that job had gone with it.
        assert connection.scalar(left) == 6
        assert connection.scalar(text("SELECT count(*) FROM remains")) == 0
        connection.execute(text("DELETE FROM jobs WHERE name = 'gone'"))
        assert connection.scalar(text("SELECT count(*) FROM events")) == 2
    migrate(empty_database, "0003")
    with empty_database.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM events")) == 1
        assert connection.scalar(text("SELECT count(*) FROM remains WHERE place = 0")) == 2
        # The foreign keys are back.
        connection.execute(text("DELETE FROM jobs"))
        assert connection.scalar(text("SELECT count(*) FROM events")) == 0


def test_a_reader_sees_the_views_and_nothing_else(empty_database: Engine) -> None:
    migrate(empty_database)
    allowed = text(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'v') AND has_table_privilege('gradbook_reader', oid, 'SELECT')"
    )
    writable = text(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND has_table_privilege('gradbook_reader', oid, 'INSERT, UPDATE, DELETE')"
    )
    with empty_database.connect() as connection:
        assert set(connection.scalars(allowed)) == {
            "v_jobs",
            "v_iterations",
            "v_epochs",
            "v_attempts",
            "v_metrics",
            "v_metric_values",
        }
        assert list(connection.scalars(writable)) == []
