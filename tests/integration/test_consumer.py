"""A worker whose broker connection is dead without a sign takes tickets again."""

import time
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from foundation.settings import BrokerSettings, Settings
from tests.bookings import attempts_of, job_of
from tests.integration.test_worker import post, wait_for_state, wait_for_workers, worker
from tests.silenced import firewall
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

# Kombu alone was seen to take 52 s, each time; with the renewal it is 11 s.
RENEWED_WITHIN_SECONDS = 20.0
FOUND_WITHIN_SECONDS = 4.0
RENEWED = "consumer.renewed"


def through(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"broker": BrokerSettings(url=SecretStr(url))})


def test_a_connection_that_was_forgotten_is_renewed_as_often_as_that_happens(
    engine: Engine, settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with (
        firewall(broker_url) as wall,
        worker(through(settings, wall.url), log, GRADBOOK_WORKER_SLOTS="2"),
    ):
        wait_for_workers(engine)
        running = post(engine, settings, epochs=100_000, pause_seconds=0.02)
        wait_for_state(engine, running, "running")
        wait_for_state(engine, post(engine, settings), "succeeded")
        for times in (1, 2):
            assert wall.forget()
            seen = job_of(engine, running).rows
            wait_for_state(engine, post(engine, settings), "succeeded", RENEWED_WITHIN_SECONDS)
            assert log.read_text().count(RENEWED) == times
            # What runs in the other slot has not noticed, and the next ticket comes at once.
            assert job_of(engine, running).rows > seen + 100
            assert [each.outcome for each in attempts_of(engine, running)] == [None]
            wait_for_state(engine, post(engine, settings), "succeeded", 5)
    assert log.read_text().count(RENEWED) == 2


def test_a_broker_that_was_away_is_found_again_within_seconds(
    engine: Engine, settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    """Kombu alone would ask for it 2, 6 and 12 s after it went, and 20 and 30."""
    with (
        firewall(broker_url) as wall,
        worker(through(settings, wall.url), tmp_path / "log"),
    ):
        wait_for_workers(engine)
        wait_for_state(engine, post(engine, settings), "succeeded")
        away_at = time.monotonic()
        wall.shut()
        wait_until(lambda: time.monotonic() - away_at > 7, 10, "an outage of seven seconds")
        wall.open()
        wait_for_state(engine, post(engine, settings), "succeeded", FOUND_WITHIN_SECONDS)
