"""The polling reader: a rewind that is told is fine, anything else that goes back is not."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from models.domain.checkpoints import Resumed
from services.database import transaction
from services.pages import Page
from services.recording import Owner, flush
from tests.chaos.orderly import book_disturbed, take, write_epoch
from tests.chaos.watcher import Watcher
from tests.serving import serving
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

SECONDS = 30


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        yield client


@pytest.fixture
def watcher(api: httpx.Client) -> Iterator[Watcher]:
    made = Watcher(str(api.base_url))
    made.start()
    yield made
    made.stop()


def _see_again(watcher: Watcher) -> None:
    """Wait until a look that began after this was called is over."""
    seen = watcher.looks
    wait_until(lambda: watcher.looks >= seen + 2, SECONDS, "the watcher looks")


def _do(engine: Engine, owner: Owner, page: Page) -> None:
    with transaction(engine) as connection:
        flush(connection, owner, page)


def _change(engine: Engine, statement: str) -> None:
    with transaction(engine) as connection:
        connection.exec_driver_sql(statement)


def test_a_step_back_that_is_told_is_fine(engine: Engine, tmp_path: Path, watcher: Watcher) -> None:
    job_id, owner = take(engine)
    watcher.watch(job_id)
    for epoch in (1, 2):
        write_epoch(engine, owner, epoch, tmp_path, job_id)
    _see_again(watcher)
    _do(engine, owner, Page(resumed=Resumed(10, 1, like=True)))
    _see_again(watcher)
    assert (watcher.steps_back, watcher.violations) == (1, [])


def test_a_step_back_that_nothing_tells_of_is_seen(
    engine: Engine, tmp_path: Path, watcher: Watcher
) -> None:
    job_id, owner = take(engine)
    watcher.watch(job_id)
    for epoch in (1, 2):
        write_epoch(engine, owner, epoch, tmp_path, job_id)
    _do(engine, owner, Page(resumed=Resumed(10, 1, like=True)))
    write_epoch(engine, owner, 2, tmp_path, job_id)
    _see_again(watcher)
    # The rewind from before is no excuse for this one.
    _change(engine, "UPDATE progress SET iteration = 15, rows = 15")
    _see_again(watcher)
    assert "it went from 20 back to 15; told is []" in str(watcher.violations[0])


def test_a_job_that_changes_after_its_end_is_seen_unless_it_was_to(
    engine: Engine, tmp_path: Path, watcher: Watcher
) -> None:
    job_id = book_disturbed(engine, tmp_path)
    watcher.watch(job_id)
    _see_again(watcher)
    _change(engine, "UPDATE jobs SET stop_reason = 'patience'")
    wait_until(lambda: watcher.violations, SECONDS, "the change is seen")
    assert "it had ended, and has changed: {'stop_reason': 'patience'}" in str(
        watcher.violations[0]
    )
    watcher.violations.clear()
    watcher.expect_change(job_id)
    _change(engine, "UPDATE jobs SET stop_reason = 'epochs'")
    _see_again(watcher)
    assert watcher.violations == []


def test_rows_that_progress_does_not_know_of_are_seen(
    engine: Engine, tmp_path: Path, watcher: Watcher
) -> None:
    job_id, owner = take(engine)
    watcher.watch(job_id)
    write_epoch(engine, owner, 1, tmp_path, job_id)
    _change(engine, "UPDATE progress SET rows = 11")
    _see_again(watcher)
    assert "iteration 10, and the book is" in str(watcher.violations[0])
