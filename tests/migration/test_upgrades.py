"""A database that is at work is migrated: nobody is shut out, and nobody's writes fail of it."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from migrations.run import (
    MigrationStopped,
    SchemaBehind,
    check_schema,
    current_revision,
    migrate,
    newest_revision,
)
from tests.many_jobs import make_jobs
from tests.waiting import wait_until

# More than a batch of networks holds.
JOBS = 1_500
WAIT_SECONDS = 30.0

# The last job's hash is not written while somebody holds the lock with this number.
_STOP_AT_THE_LAST = """
    CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.job_key = (SELECT max(key) FROM jobs WHERE project <> 'late') THEN
            PERFORM pg_advisory_xact_lock_shared(77);
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER wait_here BEFORE UPDATE ON spec_outlines
    FOR EACH ROW EXECUTE FUNCTION wait_here();
"""
_SUBMIT = """
    INSERT INTO jobs (id, name, project, queue, notes, tags, priority, max_attempts, device,
        spec, spec_sha256, plan, reproducible)
    SELECT gen_random_uuid(), name, 'late', queue, notes, tags, priority, max_attempts, device,
        spec, spec_sha256, plan, reproducible
    FROM jobs WHERE key = 1
"""
_WRONG = """
    SELECT count(*) FROM jobs
    LEFT JOIN spec_outlines ON spec_outlines.job_key = key
    LEFT JOIN plan_outlines ON plan_outlines.job_key = key
    WHERE (spec_outlines.network = network_of(jobs.spec)) IS NOT TRUE
        OR (plan_outlines.network = network_of(jobs.plan)) IS NOT TRUE
"""
# What a flush of the release at 0003 locks when its first statement begins, and what it then does.
_FENCE_BEGINS = "LOCK TABLE progress, epochs, summaries, events IN ROW EXCLUSIVE MODE"
_FENCE = (
    "UPDATE progress SET last_event = last_event + 1 WHERE job_key = 1",
    """INSERT INTO epochs (job_key, epoch, batches, samples, first_iteration, last_iteration,
        train_loss, skipped_updates, seconds, samples_per_second)
    VALUES (1, 1, 1, 1, 1, 1, 0.5, 0, 1, 1)""",
    "INSERT INTO events (job_key, id, type, data) VALUES (1, 1, 'epoch', '{}')",
    "UPDATE attempts SET flushes = flushes + 1 WHERE job_key = 1",
)
_WAITERS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND NOT granted
"""
_CLAIM_BEGINS = "SELECT key FROM jobs WHERE key = 1 FOR UPDATE SKIP LOCKED"
_CLAIM = (
    "UPDATE jobs SET attempts_made = attempts_made + 1 WHERE key = 1",
    "UPDATE progress SET last_event = last_event + 1 WHERE job_key = 1",
    "INSERT INTO events (job_key, id, type, data) VALUES (1, 1, 'state', '{}')",
)


@pytest.fixture
def at_0003(empty_database: Engine) -> Engine:
    """A database of the release before, with jobs in it."""
    migrate(empty_database, "0003")
    with empty_database.begin() as connection:
        make_jobs(connection, JOBS, "lenet5")
    return empty_database


@contextmanager
def _migrating(engine: Engine) -> Iterator["Future[None]"]:
    own = create_engine(engine.url, poolclass=NullPool)
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(migrate, own)


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))


def _number(engine: Engine, question: str) -> int:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        return int(connection.scalar(text(question)) or 0)


def test_jobs_are_read_and_submitted_while_networks_are_hashed(at_0003: Engine) -> None:
    with at_0003.begin() as connection:
        _run(connection, _STOP_AT_THE_LAST)
    with _migrating(at_0003) as migration, at_0003.begin() as holder:
        _run(holder, "SELECT pg_advisory_xact_lock(77)")
        hashed = "SELECT count(network) FROM spec_outlines"
        columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'network'"
        wait_until(lambda: _number(at_0003, columns), WAIT_SECONDS, "the column")
        wait_until(lambda: _number(at_0003, hashed), WAIT_SECONDS, "a batch")
        with at_0003.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            _run(connection, _SUBMIT, *_FENCE)
        with pytest.raises(SchemaBehind):
            check_schema(at_0003)
        assert not migration.done()
        holder.rollback()
        migration.result(WAIT_SECONDS)
    check_schema(at_0003)
    assert _number(at_0003, "SELECT count(*) FROM jobs") == JOBS + 1
    assert _number(at_0003, _WRONG) == 0


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [(_FENCE_BEGINS, _FENCE), (_CLAIM_BEGINS, _CLAIM)],
    ids=["flush", "claim"],
)
def test_a_writer_of_the_release_before_and_a_migration_both_succeed(
    at_0003: Engine, begins: str, goes_on: tuple[str, ...]
) -> None:
    with at_0003.connect() as writer, _migrating(at_0003) as migration:
        _run(writer, begins)
        wait_until(lambda: _number(at_0003, _WAITERS), WAIT_SECONDS, "the migration waits")
        _run(writer, *goes_on)
        writer.commit()
        migration.result(2 * WAIT_SECONDS)
    check_schema(at_0003)
    assert _number(at_0003, "SELECT count(*) FROM events WHERE job_key = 1 AND id = 1") == 1


def test_a_migration_that_fails_on_its_way_keeps_what_is_done_and_goes_on(
    empty_database: Engine,
) -> None:
    migrate(empty_database, "0003")
    with empty_database.begin() as connection:
        _run(connection, "ALTER TABLE epochs ADD COLUMN waiting_seconds INTEGER")
    with pytest.raises(MigrationStopped, match=r"revision 0005.*waiting_seconds"):
        migrate(empty_database)
    with empty_database.connect() as connection:
        assert current_revision(connection) == "0004"
    with pytest.raises(SchemaBehind):
        check_schema(empty_database)
    with empty_database.begin() as connection:
        _run(connection, "ALTER TABLE epochs DROP COLUMN waiting_seconds")
    migrate(empty_database)
    with empty_database.connect() as connection:
        assert current_revision(connection) == newest_revision()
