"""At a hundred thousand jobs a filtered and ordered page comes out of an index."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from foundation.settings import DatabaseSettings
from models.domain.search import parse_filter, parse_orders
from services.cursors import encode_cursor
from services.database import make_engine, transaction
from services.listing import Listing, list_jobs
from services.ordering import encode_position, read_page
from services.selecting import Selection
from tests.explained import noted, plan_nodes
from tests.many_jobs import make_jobs
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

JOBS = 100_000
NEWEST = "-created_at"
LISTS = [
    # project, filter, order, the index
    (None, None, NEWEST, "pk_jobs"),
    (None, "state = 'running'", NEWEST, "ix_jobs_state_key"),
    ("project-3", None, "created_at", "ix_jobs_project_key"),
    ("project-3", None, "summary.best_loss", "ix_jobs_project_key"),
    (None, "project = 'project-3' and state != 'failed'", NEWEST, "ix_jobs_project_key"),
    (None, "name = 'job 000777'", NEWEST, "ix_jobs_name"),
    (None, "name like 'job 0007%' and state = 'succeeded'", "name", "ix_jobs_name"),
    (None, None, "-name", "ix_jobs_name"),
    (None, "created_at < '2026-01-01T02:00:00Z'", "name", "ix_jobs_created_at"),
    (None, "created_at < '2026-01-02T00:00:00Z'", NEWEST, "ix_jobs_created_at"),
    (None, "started_at > '2026-03-10T00:00:00Z'", "started_at", "ix_jobs_started_at"),
    (None, "state = 'succeeded'", "-finished_at", "ix_jobs_finished_at"),
    (None, "tags.run = '777'", NEWEST, "ix_jobs_tags"),
    (None, "tags.run in ('777', '778')", "summary.best_loss", "ix_jobs_tags"),
    *(
        (None, "state = 'succeeded'", f"{sign}summary.{name}", f"ix_summaries_{name}")
        for sign in ("", "-")
        for name in ("best_loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    ),
    (None, "summary.best_loss < 0.001", "-summary.test_accuracy", "ix_summaries_best_loss"),
    (None, "not summary.train_loss < NaN", "summary.best_loss,name", "ix_summaries_best_loss"),
    (None, "summary.best.value = 1", "-summary.best.value", "ix_summaries_best_value"),
    (None, "summary.final_loss > 1 or summary.val_loss > 1", NEWEST, "ix_summaries_final_loss"),
    (None, "summary.val_accuracy > 1", NEWEST, "ix_summaries_val_accuracy"),
]


@pytest.fixture(scope="module")
def jobs(shared_database_url: str) -> Iterator[Engine]:
    """Where so many jobs are, made once for all these tests."""
    settings = DatabaseSettings(url=SecretStr(shared_database_url))
    engine = make_engine(settings, application_name="gradbook tests")
    with transaction(engine) as connection:
        make_jobs(connection, JOBS)
    yield engine
    engine.dispose()


def plans(connection: Connection, listing: Listing) -> list[list[dict[str, Any]]]:
    """What PostgreSQL does for the first page: the nodes of each statement's plan."""
    with noted(connection) as statements:
        list_jobs(connection, listing, 100, None, 60.0)
    explained = (
        connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        for statement, parameters in statements
    )
    return [list(plan_nodes(plan[0]["Plan"])) for plan in explained]


def test_a_filtered_and_ordered_page_uses_an_index(jobs: Engine) -> None:
    wrong = []
    with transaction(jobs) as connection:
        for project, filter_, order, index in LISTS:
            condition = None if filter_ is None else parse_filter(filter_)
            listing = Listing(Selection(project=project, condition=condition), parse_orders(order))
            nodes = [node for plan in plans(connection, listing) for node in plan]
            used = {node.get("Index Name") for node in nodes}
            through = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
            if index not in used or {"jobs", "summaries"} & through:
                wrong.append((filter_, order, index, used, through))
    assert wrong == []


DEEP = [
    # project, filter, order
    (None, None, NEWEST),
    (None, None, "created_at"),
    ("project-3", None, NEWEST),
    (None, "state = 'succeeded'", NEWEST),
    (None, None, "name"),
    (None, None, "-project"),
    (None, "state = 'succeeded'", "-name,created_at"),
    (None, "created_at < '2027-01-01T00:00:00Z'", NEWEST),
    (None, None, "-started_at"),
    (None, None, "summary.best_loss"),
    (None, "state = 'succeeded'", "-summary.test_accuracy"),
    (None, "state = 'succeeded' and progress.iteration = 46", NEWEST),
    (None, "spec.seed > 0", NEWEST),
    # Nobody has one.
    (None, "state = 'succeeded'", "summary.val_loss"),
]


def test_jobs_with_a_tag_come_out_of_its_index(jobs: Engine) -> None:
    with transaction(jobs) as connection:
        for tag in ("run:777", "run:7:7"):
            listing = Listing(Selection(tags=[tag]), parse_orders(NEWEST))
            nodes = [node for plan in plans(connection, listing) for node in plan]
            assert "ix_jobs_tags" in {node.get("Index Name") for node in nodes}
            assert "Seq Scan" not in {node["Node Type"] for node in nodes}


def cursor_within(connection: Connection, listing: Listing) -> str:
    """Where the list goes on in its middle."""
    query, clauses, ranks = listing.query()
    rows = read_page(connection, query, clauses, ranks, after=None, limit=JOBS)
    return encode_cursor(listing.name, encode_position(rows[len(rows) // 2]))


def buffers(connection: Connection, listing: Listing, cursor: str | None) -> int:
    """How many of its pages PostgreSQL looks at to find the jobs of one of ours."""
    with noted(connection) as statements:
        list_jobs(connection, listing, 100, cursor, 60.0)
    found = 0
    for statement, parameters in statements:
        if "rank_0" in statement:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
            plan = connection.exec_driver_sql(explain, parameters).scalar_one()[0]["Plan"]
            found += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


def test_a_page_deep_in_a_list_reads_as_little_as_the_first(jobs: Engine) -> None:
    wrong = []
    with transaction(jobs) as connection:
        for project, filter_, order in DEEP:
            condition = None if filter_ is None else parse_filter(filter_)
            listing = Listing(Selection(project=project, condition=condition), parse_orders(order))
            cursor = cursor_within(connection, listing)
            first, deep = (buffers(connection, listing, each) for each in (None, cursor))
            if deep > 2 * first + 20:
                wrong.append((project, filter_, order, first, deep))
    assert wrong == []
