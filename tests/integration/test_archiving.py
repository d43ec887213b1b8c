"""Rows of finished jobs go to a file: made by some worker, whole, once, whatever ends it."""

import hashlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text, update

from foundation.faults import ArchiveMoment
from foundation.settings import ArchiveSettings, Settings
from models.tables import jobs
from services.archived_tables import ARCHIVED
from services.archiving import BATCH_ROWS, book_archive, find_wishes, remove_rows
from services.database import transaction
from services.pages import Page
from services.session_locks import Work, held
from tests.archived import (
    archiver,
    booked_file,
    booked_files,
    close,
    files_of,
    rows_of,
    wish_of,
    write_layered_run,
    write_readings,
    write_run,
    write_values,
)
from tests.processes import ROOT, environment_of
from tests.submitted import Crew, events_of, get, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import WrittenJob, make_rows
from worker.archiver import AGAIN_SECONDS, Archiver
from worker.filing import make_files
from worker.rounds import stop
from worker.shutdown import Shutdown

ROWS = 25_000
ARCHIVE_IN_A_PROCESS = """
import os, signal, sys
from foundation.faults import install
from foundation.settings import Settings
from services.database import make_engine
from worker.archiver import Archiver
from worker.shutdown import Shutdown

def strike(moment):
    if moment == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

install(strike)
settings = Settings()
Archiver(make_engine(settings.database, application_name="t"), settings, Shutdown(1.0)).look()
"""


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return close(write_run(engine, ROWS))


def wish(api: httpx.Client, job: WrittenJob) -> httpx.Response:
    return api.post(f"{job.path}/archive")


def archived(api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob) -> Path:
    assert wish(api, job).status_code == httpx.codes.ACCEPTED
    archiver(engine, settings).look()
    return booked_file(job)


def test_the_rows_are_in_one_file_that_the_book_names_and_no_more_in_the_table(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    file = archived(api, engine, settings, job)
    assert rows_of(job) == 0
    assert list(files_of(job, settings)) == [file]
    content = file.read_bytes()
    (booked,) = api.get(f"{job.path}/artifacts").json()["items"]
    assert (booked["name"], booked["kind"]) == ("iterations.parquet", "archive")
    assert booked["bytes"] == len(content)
    assert booked["sha256"] == hashlib.sha256(content).hexdigest()
    assert api.get(f"{job.path}/artifacts/iterations.parquet").content == content
    table = pq.read_table(file)
    assert table["iteration"].to_pylist() == list(range(1, ROWS + 1))
    shown = get(api, str(job.id))["book"]
    losses = np.asarray(table["loss"].to_numpy(), dtype="<f8").tobytes()
    assert shown["loss_sha256"] == hashlib.sha256(losses).hexdigest()
    assert shown["archived_at"]
    assert (shown["rows"], shown["complete"]) == (ROWS, True)
    (event,) = events_of(api, str(job.id))
    assert (event["type"], event["data"]["field"]) == ("edited", "book.archived_at")


def test_a_job_that_is_not_finished_is_not_archived(api: httpx.Client, engine: Engine) -> None:
    answer = wish(api, write_run(engine))
    assert answer.status_code == httpx.codes.CONFLICT
    assert answer.json()["type"] == "/problems/move-forbidden"
    assert "cannot archive" in answer.json()["detail"]


def test_a_wish_that_is_said_again_changes_nothing(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    first = wish_of(job)
    assert wish(api, job).json()["book"]["archived_at"] is None
    assert wish_of(job) == first
    archiver(engine, settings).look()
    shown, settled = get(api, str(job.id)), wish_of(job)
    assert wish(api, job).json() == shown
    archiver(engine, settings).look()
    assert (wish_of(job), get(api, str(job.id))) == (settled, shown)


def test_a_job_without_rows_can_be_archived(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job_id = submit(api)["id"]
    api.post(f"/v1/jobs/{job_id}/cancel")
    before = api.get(f"/v1/jobs/{job_id}/iterations").content
    api.post(f"/v1/jobs/{job_id}/archive")
    archiver(engine, settings).look()
    assert get(api, job_id)["book"]["archived_at"]
    assert api.get(f"/v1/jobs/{job_id}/iterations").content == before


@on_newest_postgres
@pytest.mark.parametrize("moment", ArchiveMoment)
def test_a_worker_that_is_killed_leaves_nothing_undone_and_nothing_twice(
    api: httpx.Client, engine: Engine, settings: Settings, moment: ArchiveMoment
) -> None:
    job = write_layered_run(engine, ROWS)
    write_readings(job, 1, 400, 12)
    write_values(job, 400)
    close(job)
    pages = ("iterations?format=ndjson", "layers", "metrics/values?format=ndjson")
    before = [api.get(f"{job.path}/{page}").content for page in pages]
    wish(api, job)
    killed = subprocess.run(
        [sys.executable, "-c", ARCHIVE_IN_A_PROCESS, moment],
        cwd=ROOT,
        env=environment_of(settings),
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [api.get(f"{job.path}/{page}").content for page in pages] == before
    with transaction(engine) as connection:
        seen = connection.scalar(text("SELECT count(*) FROM v_iterations"))
    assert seen == (0 if get(api, str(job.id))["book"]["archived_at"] else ROWS)
    archiver(engine, settings).look()
    assert [rows_of(job, each.table) for each in ARCHIVED] == [0, 0, 0]
    assert set(files_of(job, settings)) == set(booked_files(job).values())
    assert [api.get(f"{job.path}/{page}").content for page in pages] == before
    assert len(events_of(api, str(job.id))) == 1
    settled = wish_of(job)
    assert settled is not None
    assert settled.settled_at is not None


def test_a_booking_whose_answer_was_lost_is_found_again(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    with transaction(engine) as connection:
        (wanted,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    for _ in range(2):
        with transaction(engine) as connection:
            assert book_archive(connection, wanted, files)
    other = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    with transaction(engine) as connection:
        assert not book_archive(connection, wanted, other)
    assert len(events_of(api, str(job.id))) == 1


def test_only_one_worker_makes_a_jobs_file(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    with engine.connect() as other, held(other, Work.ARCHIVE, job.key) as taken:
        assert taken
        archiver(engine, settings).look()
        assert list(files_of(job, settings)) == []
    archiver(engine, settings).look()
    assert booked_file(job).exists()


def test_a_retry_takes_back_a_wish_and_after_the_booking_it_is_refused(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, 1_000), "failed")
    wish(api, job)
    with transaction(engine) as connection:
        (wanted,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    assert api.post(f"{job.path}/retry").status_code == httpx.codes.ACCEPTED
    assert wish_of(job) is None
    for state in ("queued", "failed"):
        with transaction(engine) as connection:
            assert not book_archive(connection, wanted, files), state
        close(job, "failed")
    assert rows_of(job) == 1_000
    archived(api, engine, settings, job)
    answer = api.post(f"{job.path}/retry")
    assert answer.status_code == httpx.codes.CONFLICT
    assert answer.json()["type"] == "/problems/rows-archived"
    assert get(api, str(job.id))["state"] == "failed"


@pytest.mark.parametrize("other", ["retry", "delete"])
def test_of_a_booking_and_who_wants_otherwise_one_wins(
    api: httpx.Client, engine: Engine, settings: Settings, other: str
) -> None:
    job = close(write_run(engine, 1_000), "failed")
    wish(api, job)
    with transaction(engine) as connection:
        (wanted,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    call = {"retry": ("POST", f"{job.path}/retry"), "delete": ("DELETE", job.path)}[other]
    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as connection:
            assert book_archive(connection, wanted, files)
            answering = pool.submit(api.request, *call)
            wait_until(lambda: _somebody_waits(engine), 10, f"the {other} to wait")
        answer = answering.result()
    if other == "retry":
        assert answer.status_code == httpx.codes.CONFLICT
    else:
        assert answer.status_code == httpx.codes.NO_CONTENT
        assert list(files_of(job, settings)) == []
        archiver(engine, settings).look()
        assert wish_of(job) is None


def test_a_deletion_takes_the_file_too_even_one_that_is_being_made(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    archived(api, engine, settings, job)
    assert api.delete(job.path).status_code == httpx.codes.NO_CONTENT
    assert list(files_of(job, settings)) == []
    second = close(write_run(engine, 1_000))
    wish(api, second)

    class Late(Archiver):
        """Is told to go on once the job is gone."""

        def _file(self, wanted: object) -> None:
            assert api.delete(second.path).status_code == httpx.codes.NO_CONTENT
            super()._file(wanted)  # type: ignore[arg-type]

    Late(engine, settings, Shutdown(1.0)).look()
    assert wish_of(second) is None
    assert not (Path(settings.artifacts_url) / str(second.id)).exists()


def test_rows_that_are_not_what_the_book_says_stay_where_they_are(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    with transaction(engine) as connection:
        connection.execute(update(jobs).values(loss_sha256="0" * 64))
    wish(api, job)
    for _ in range(2):
        archiver(engine, settings).look()
    assert rows_of(job) == ROWS
    assert list(files_of(job, settings)) == []
    (event,) = events_of(api, str(job.id))
    assert event["type"] == "warning"
    assert "loss_sha256" in event["data"]["reason"]
    close(job)
    archived(api, engine, settings, job)
    assert rows_of(job) == 0


def test_a_book_with_a_gap_is_not_archived(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    written = write_run(engine)
    written.write_rows(np.delete(make_rows(np.linspace(1, 2, 300)), [150]))
    job = close(written)
    wish(api, job)
    archiver(engine, settings).look()
    assert rows_of(job) == 299
    assert "299 rows" in events_of(api, str(job.id))[-1]["data"]["reason"]


def test_a_store_that_refuses_is_asked_again(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    folder = Path(settings.artifacts_url) / str(job.id)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    now = [0.0]
    patient = Archiver(engine, settings, Shutdown(1.0), clock=lambda: now[0])
    patient.look()
    folder.unlink()
    patient.look()
    assert rows_of(job) == ROWS
    now[0] = AGAIN_SECONDS + 1
    patient.look()
    assert rows_of(job) == 0
    assert events_of(api, str(job.id))[0]["type"] == "edited"


def test_jobs_that_are_old_are_archived_and_no_others(
    engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    young = close(write_run(engine))
    running = write_run(engine)
    with transaction(engine) as connection:
        old = text("UPDATE jobs SET finished_at = now() - interval '8 days' WHERE key = :key")
        connection.execute(old, {"key": job.key})
    archiver(engine, settings).look()
    assert wish_of(job) is None
    keep_a_week = settings.model_copy(update={"archive": ArchiveSettings(after_days=7)})
    archiver(engine, keep_a_week).look()
    assert rows_of(job) == 0
    assert (wish_of(young), wish_of(running)) == (None, None)


def test_who_writes_does_not_wait_for_rows_that_are_removed(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    writing = submit(api)
    crew = Crew(engine)
    crew.claim()
    wish(api, job)
    with transaction(engine) as connection:
        (wanted,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    with transaction(engine) as connection:
        assert book_archive(connection, wanted, files)
    with transaction(engine) as connection:
        assert remove_rows(connection)
        with transaction(engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '1ms'"))
            assert not remove_rows(other)
        crew.flush(writing["id"], Page(rows=make_rows([1.0] * 20)))
        assert api.patch(job.path, json={"name": "x"}).status_code == httpx.codes.OK
    assert rows_of(job) == ROWS - BATCH_ROWS
    assert get(api, writing["id"])["book"]["rows"] == 20


def test_a_worker_archives_and_leaves_off_when_it_is_told(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    leaving = Shutdown(1.0)
    leaving.begin()
    Archiver(engine, settings, leaving).look()
    assert rows_of(job) == ROWS
    told: list[UUID] = []
    working = Archiver(engine, settings, Shutdown(1.0), tell=told.append)
    working.round.start()
    try:
        wait_until(lambda: (found := wish_of(job)) and found.settled_at, 30, "all is done")
    finally:
        stop([working.round], 5)
    assert told == [job.id]
    assert rows_of(job) == 0


def _somebody_waits(engine: Engine) -> bool:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with transaction(engine) as connection:
        return bool(connection.scalar(waiting))
