"""GET /v1/events?project=…: a page costs a bounded look, however much happens elsewhere."""

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from services import project_events
from services.database import snapshot, transaction
from services.project_events import MOST_SCANNED, list_all_events
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import WrittenJob, write_job

PATH = "/v1/events"
MANY = 60_000

# Of the table and of its indexes, in this transaction.
_ROWS_READ = text("""
    SELECT sum(pg_stat_get_xact_tuples_returned(read.oid))
    FROM pg_class AS read
    WHERE read.oid = CAST('events' AS regclass)
        OR read.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = CAST('events' AS regclass))
""")


def happen(job: WrittenJob, first: int, last: int) -> None:
    """Write events of a job, in one transaction."""
    with transaction(job.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO events (job_key, id, type, data)"
                " SELECT :key, n, 'warning', '{}'"
                " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n"
            ),
            {"key": job.key, "first": first, "last": last},
        )


def until_told(engine: Engine) -> None:
    """A transaction anywhere on the server holds back what came after it."""

    def told() -> bool:
        with snapshot(engine) as connection:
            return not connection.scalar(
                text(
                    "SELECT EXISTS (SELECT FROM events"
                    " WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))"
                )
            )

    wait_until(told, 60, "the events can be read")


def pages(api: httpx.Client, **asked: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a query
    while True:
        page = api.get(PATH, params=asked).raise_for_status().json()
        yield page
        if page["next_cursor"] is None:
            return
        asked["cursor"] = page["next_cursor"]


@pytest.fixture
def quiet(engine: Engine) -> WrittenJob:
    return write_job(engine, project="vision")


@pytest.fixture
def busy(engine: Engine) -> WrittenJob:
    return write_job(engine, project="speech")


def rows_read(connection: Connection, project: str | None) -> int:
    list_all_events(connection, project, 50, None)
    return int(connection.scalar(_ROWS_READ) or 0)


@pytest.mark.parametrize("project", ["vision", "nobodys", None])
def test_what_a_page_reads_at_once_is_bounded(
    engine: Engine,
    quiet: WrittenJob,
    busy: WrittenJob,
    monkeypatch: pytest.MonkeyPatch,
    project: str | None,
) -> None:
    """However many events of other projects there are, and of none that is left."""
    monkeypatch.setattr(project_events, "PAGE_SECONDS", 0.0)
    happen(busy, 1, MANY)
    happen(quiet, 1, 1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE events, jobs"))
    until_told(engine)
    with snapshot(engine) as connection:
        assert 0 < rows_read(connection, project) <= 3 * MOST_SCANNED < MANY / 3


@on_newest_postgres
def test_events_that_lie_far_apart_are_on_one_page(
    api: httpx.Client, engine: Engine, quiet: WrittenJob, busy: WrittenJob
) -> None:
    happen(quiet, 1, 1)
    happen(busy, 1, 2 * MOST_SCANNED)
    happen(quiet, 2, 2)
    until_told(engine)
    (page,) = pages(api, project="vision")
    assert [item["id"] for item in page["items"]] == [1, 2]


@pytest.mark.parametrize("project", ["vision", None])
def test_what_a_deleted_job_has_left_costs_few_pages(
    api: httpx.Client,
    quiet: WrittenJob,
    busy: WrittenJob,
    monkeypatch: pytest.MonkeyPatch,
    project: str | None,
) -> None:
    """Its events go in batches, some time after it."""
    monkeypatch.setattr(project_events, "PAGE_SECONDS", 0.0)
    happen(busy, 1, 2 * MOST_SCANNED)
    happen(quiet, 1, 1)
    with transaction(busy.engine) as connection:
        connection.execute(text("DELETE FROM jobs WHERE key = :key"), {"key": busy.key})
        assert connection.scalar(text("SELECT count(*) FROM events")) == 2 * MOST_SCANNED + 1
    until_told(busy.engine)
    asked = {} if project is None else {"project": project}
    found = list(itertools.islice(pages(api, **asked, limit=1), 4))
    assert [item["id"] for page in found for item in page["items"]] == [1]
    assert found[-1]["next_cursor"] is None


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_a_page_that_comes_short_has_a_cursor_that_goes_on(
    api: httpx.Client,
    quiet: WrittenJob,
    busy: WrittenJob,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    monkeypatch.setattr(project_events, "MOST_SCANNED", 4)
    monkeypatch.setattr(project_events, "PAGE_SECONDS", 0.0)
    for number in range(1, 6):
        happen(busy, 10 * number, 10 * number + 8)
        happen(quiet, number, number)
    happen(busy, 100, 108)
    until_told(busy.engine)
    found = list(pages(api, project="vision", limit=limit))
    assert [item["id"] for page in found for item in page["items"]] == [1, 2, 3, 4, 5]
    assert {len(page["items"]) for page in found} == {0, 1}
