"""DELETE /v1/jobs/{id}."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, Engine, func, select, text

from foundation.ids import new_id
from foundation.settings import Settings
from models.domain.metrics import MetricKind
from models.tables import leftovers, metadata
from services.database import transaction
from services.deletion import delete_job
from services.pages import LayerReading, LogLine, Page
from services.remains import BATCH_ROWS, BULK, sweep
from services.submission import draft_job
from services.submission import submit as submit_drafts
from tests.measured import block_of
from tests.submitted import Crew, Json, events_of, get, spec_of, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import make_rows
from worker.rounds import stop
from worker.shutdown import Shutdown
from worker.sweeper import sweeper

NORMS = {"error_norm": 1.0, "grad_norm": 1.0, "weight_norm": 1.0, "update_ratio": 1.0}
EPOCH = {
    "epoch": 1,
    "batches": 2,
    "samples": 128,
    "first_iteration": 1,
    "last_iteration": 2,
    "skipped_updates": 0,
    "seconds": 0.1,
    "train_loss": 1.0,
}
FILE = {"uri": "file", "sha256": "0" * 64, "bytes": 1}

_MANY_EPOCHS = """
    INSERT INTO epochs (job_key, epoch, batches, samples, first_iteration, last_iteration,
        skipped_updates, seconds)
    SELECT key, n, 1, 64, n, n, 0, 0.1 FROM jobs, generate_series(1, :many) AS n WHERE id = :job
"""
_MANY_EVENTS = """
    INSERT INTO events (job_key, id, type, data)
    SELECT key, 100 + n, 'epoch', '{}' FROM jobs, generate_series(1, :many) AS n WHERE id = :job
"""


def counts(engine: Engine) -> dict[str, int]:
    """How many rows each table holds of what goes with a job."""
    with transaction(engine) as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name not in {"workers", "idempotency_keys", "leftovers", "remains"}
        }


def sweep_all(engine: Engine, most_rows: int = BATCH_ROWS) -> int:
    """Remove what is left of deleted jobs, as a worker does; returns in how many batches."""
    batches = 0
    while True:
        with transaction(engine) as connection:
            if not sweep(connection, most_rows):
                return batches
        batches += 1


def worked_on(api: httpx.Client, engine: Engine, settings: Settings) -> tuple[Json, Path]:
    """Make a finished job with at least a row in every table, and a folder of files."""
    job = submit(api)
    crew = Crew(engine)
    crew.claim()
    page = Page(
        rows=make_rows([1.0, 0.5] * 8),
        epochs=[EPOCH],
        layers=[LayerReading(iteration, [NORMS]) for iteration in range(1, 17)],
        layers_every=1,
        metrics=block_of((1, {"a": 1.0}, MetricKind.ITERATION)),
        checkpoints=[{"iteration": 2, **FILE}],
        artifacts=[{"name": "weights.safetensors", "kind": "weights", **FILE}],
        logs=[LogLine("stdout", "hello")],
    )
    crew.flush(job["id"], page)
    crew.end(job["id"])
    api.post(f"/v1/jobs/{job['id']}/archive").raise_for_status()
    folder = Path(settings.artifacts_url) / job["id"]
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "weights.safetensors").write_bytes(b"w")
    return job, folder


def test_all_that_belongs_to_the_job_goes_and_nothing_else(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job, folder = worked_on(api, engine, settings)
    kept = counts(engine)
    assert all(kept.values()), kept
    _, kept_folder = worked_on(api, engine, settings)
    answer = api.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.content) == (httpx.codes.NO_CONTENT, b"")
    sweep_all(engine)
    assert counts(engine) == kept
    assert not folder.exists()
    assert kept_folder.is_dir()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/iterations")):
        gone = api.request(method, f"/v1/jobs/{job['id']}{path}")
        assert gone.status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("running", [False, True])
def test_a_job_that_is_not_finished_stays(
    api: httpx.Client, engine: Engine, *, running: bool
) -> None:
    job_id = submit(api)["id"]
    if running:
        Crew(engine).claim()
    answer = api.delete(f"/v1/jobs/{job_id}")
    assert answer.status_code == httpx.codes.CONFLICT
    assert ("running" if running else "queued") in answer.json()["detail"]
    assert api.get(f"/v1/jobs/{job_id}").status_code == httpx.codes.OK


def test_a_cancelled_job_without_files_can_go(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert api.delete(f"/v1/jobs/{job_id}").status_code == httpx.codes.NO_CONTENT


def test_a_job_that_never_was_is_missing(api: httpx.Client) -> None:
    assert api.delete(f"/v1/jobs/{new_id()}").status_code == httpx.codes.NOT_FOUND


def test_children_of_a_deleted_job_have_no_parent_and_can_be_posted_again(
    api: httpx.Client,
) -> None:
    parent = submit(api)["id"]
    child = submit(api, parent=parent)
    api.post(f"/v1/jobs/{parent}/cancel")
    assert api.delete(f"/v1/jobs/{parent}").status_code == httpx.codes.NO_CONTENT
    now = get(api, child["id"])
    assert (now["parent"], now["spec"]["parent"]) == (None, None)
    assert now["spec_sha256"] == child["spec_sha256"]
    assert events_of(api, child["id"])[-1]["data"] == {
        "field": "parent",
        "from": parent,
        "to": None,
    }
    assert api.post("/v1/jobs", json=now["spec"]).status_code == httpx.codes.CREATED


def test_a_deletion_waits_for_a_submit_that_names_the_job_as_parent(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    parent = submit(api)["id"]
    api.post(f"/v1/jobs/{parent}/cancel")
    draft = draft_job(spec_of(parent=parent), settings.limits)
    with ThreadPoolExecutor(1) as other:
        with transaction(engine) as connection:
            (child,) = submit_drafts(connection, [draft])
            deleted = other.submit(api.delete, f"/v1/jobs/{parent}")
            wait_until(lambda: _somebody_waits(engine), 10, "the deletion to wait")
        assert deleted.result().status_code == httpx.codes.NO_CONTENT
    assert get(api, str(child.id))["parent"] is None


def _somebody_waits(engine: Engine) -> bool:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with transaction(engine) as connection:
        return bool(connection.scalar(waiting))


def test_what_is_written_in_bulk_is_out_of_sight_at_once_and_removed_in_batches(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job, _ = worked_on(api, engine, settings)
    other, _ = worked_on(api, engine, settings)
    before = counts(engine)
    assert api.delete(f"/v1/jobs/{job['id']}").status_code == httpx.codes.NO_CONTENT
    bulk = {table.name for table in BULK}
    assert bulk == {
        "attempts",
        "epochs",
        "events",
        "iterations",
        "layer_readings",
        "logs",
        "metric_values",
        "rollups",
        "series_rollups",
    }
    after = counts(engine)
    assert {name for name in before if before[name] == after[name]} == bulk
    with transaction(engine) as connection:
        for view in ("v_iterations", "v_epochs", "v_attempts"):
            seen = text(f"SELECT count(DISTINCT job) FROM {view}")  # noqa: S608
            assert connection.scalar(seen) == 1
    # So many at a time in each table; the one that finds fewer is the last.
    batches = sum(before[name] // 2 // 7 + 1 for name in bulk)
    assert sweep_all(engine, most_rows=7) == batches
    assert get(api, other["id"])["book"]["complete"]


def test_two_who_sweep_never_wait_for_each_other_nor_does_who_writes(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job, _ = worked_on(api, engine, settings)
    writing = submit(api)
    crew = Crew(engine)
    crew.claim()
    api.delete(f"/v1/jobs/{job['id']}")
    with transaction(engine) as connection:
        assert sweep(connection, 5)
        with transaction(engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '1ms'"))
            others = 0
            while sweep(other):
                others += 1
        crew.flush(writing["id"], Page(rows=make_rows([1.0] * 20)))
        connection.rollback()
    assert get(api, writing["id"])["book"]["rows"] == 20
    assert others == len(BULK) - 1
    # What a sweep that was cut off has not removed is there for the next one.
    assert sweep_all(engine) == 1


@on_newest_postgres
def test_a_job_of_very_many_epochs_and_events_goes_in_short_transactions(
    api: httpx.Client, engine: Engine
) -> None:
    many, batch = 60_000, 7_000
    job = submit(api, project="long")
    api.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
    with transaction(engine) as connection:
        for statement in (_MANY_EPOCHS, _MANY_EVENTS):
            connection.execute(text(statement), {"job": job["id"], "many": many})
    with transaction(engine) as connection:
        before = touched(connection)
        delete_job(connection, UUID(job["id"]))
        # The job, its book, and what is noted of the rest.
        assert touched(connection) - before < 100
    assert not seen_of(api, engine, job["id"])
    sizes, more = [], True
    while more:
        with transaction(engine) as connection:
            before = touched(connection)
            more = sweep(connection, batch)
            sizes.append(touched(connection) - before)
    assert max(sizes) == batch + 1
    assert sum(sizes) > 2 * many
    assert not any(counts(engine).values())


def test_what_happened_to_a_deleted_job_leaves_every_list_at_once(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job, _ = worked_on(api, engine, settings)
    other, _ = worked_on(api, engine, settings)
    assert {job["id"], other["id"]} == told_of(api)
    api.delete(f"/v1/jobs/{job['id']}").raise_for_status()
    assert {other["id"]} == told_of(api)
    assert not seen_of(api, engine, job["id"])


def test_whoever_deletes_a_job_books_what_it_leaves(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    """An API of the release before does it in its own way, and knows of fewer tables."""
    job, _ = worked_on(api, engine, settings)
    with transaction(engine) as connection:
        booked = text("INSERT INTO remains (job_key) SELECT key FROM jobs WHERE id = :job")
        connection.execute(booked, {"job": job["id"]})
        connection.execute(text("DELETE FROM jobs WHERE id = :job"), {"job": job["id"]})
        listed = set(connection.scalars(select(leftovers.c.table_name)))
    assert listed == {table.name for table in BULK}
    sweep_all(engine)
    assert not any(counts(engine).values())


def touched(connection: Connection) -> int:
    """How many rows the session has written to, or removed, up to now in this transaction."""
    rows = text("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables")
    return int(connection.execute(rows).scalar_one())


def told_of(api: httpx.Client) -> set[str]:
    """Whose events the list of all has, and that of the project, as soon as they can be told."""

    def listed() -> list[list[str]]:
        answers = [api.get("/v1/events", params=query) for query in ({}, {"project": "default"})]
        return [[item["job"] for item in answer.json()["items"]] for answer in answers]

    wait_until(lambda: bool(listed()[0]), 60, "events can be told")
    every, of_project = listed()
    assert every == of_project
    return set(every)


def seen_of(api: httpx.Client, engine: Engine, job_id: str) -> list[str]:
    """Routes and views that still show something of the job."""
    pages = ("", "/events", "/epochs", "/iterations", "/layers", "/logs", "/metrics", "/artifacts")
    curves = [f"/curve?series={series}" for series in ("loss", "epoch.train_loss")]
    answers = {page: api.get(f"/v1/jobs/{job_id}{page}") for page in (*pages, *curves)}
    seen = [page for page, answer in answers.items() if answer.status_code != 404]
    with transaction(engine) as connection:
        for view in ("v_jobs", "v_epochs", "v_attempts", "v_iterations", "v_metric_values"):
            of_job = text(f"SELECT count(*) FROM {view} WHERE job = :job")  # noqa: S608
            if connection.scalar(of_job, {"job": job_id}):
                seen.append(view)
    return seen


def test_a_worker_sweeps(api: httpx.Client, engine: Engine, settings: Settings) -> None:
    job, _ = worked_on(api, engine, settings)
    kept = dict.fromkeys(counts(engine), 0)
    api.delete(f"/v1/jobs/{job['id']}")
    sweeping = sweeper(engine, Shutdown(1.0))
    sweeping.start()
    try:
        wait_until(lambda: counts(engine) == kept, 10, "nothing is left")
    finally:
        stop([sweeping], 5)
