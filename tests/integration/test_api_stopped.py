"""An API process that is stopped in the middle of a transaction holds no job for ever."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from sqlalchemy import Engine, select, text

from api.main import IDLE_SECONDS, create_app
from foundation.settings import Settings
from models.tables import progress
from services.database import transaction
from tests.integration.test_api_bad_input import is_problem
from tests.integration.test_api_leaving import waits
from tests.processes import api_to_signal
from tests.serving import serving
from tests.submitted import get, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

IDLE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'gradbook api' AND state = 'idle in transaction'"
)


def idle_in_transaction(engine: Engine) -> bool:
    with transaction(engine) as connection:
        return bool(connection.execute(IDLE).scalar_one())


def test_a_job_is_free_again_soon_after_the_process_that_locked_it_was_stopped(
    api: httpx.Client, settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    cancel = f"/v1/jobs/{submit(api)['id']}/cancel"
    with (
        api_to_signal(settings, tmp_path / "api.log") as (process, stopped),
        ThreadPoolExecutor(1) as client,
    ):
        with engine.connect() as connection:
            # The move has locked the job's row by the time it wants this one.
            connection.execute(select(progress).with_for_update())
            asked = client.submit(stopped.post, cancel, timeout=60)
            wait_until(lambda: waits(engine, "UPDATE progress%"), 10, "the move waits")
            process.send_signal(signal.SIGSTOP)
            connection.rollback()
        wait_until(lambda: idle_in_transaction(engine), 5, "the move is held by nobody")
        assert api.post(cancel).json()["type"] == "/problems/busy"
        wait_until(
            lambda: api.post(cancel).status_code == httpx.codes.ACCEPTED,
            IDLE_SECONDS + 5,
            "the job is free",
        )
        process.send_signal(signal.SIGCONT)
        answer = asked.result()
        assert (answer.status_code, is_problem(answer)) == (503, True)
        assert answer.json()["type"] == "/problems/database-away"
        assert get(stopped, cancel.split("/")[3])["state"] == "cancelled"


def test_a_streams_transaction_may_be_idle_for_as_long_as_its_reader(settings: Settings) -> None:
    app = create_app(settings)
    with serving(settings, app):
        engines = app.state.parts.engine, app.state.parts.streams.engine
        limits = []
        for each in engines:
            with transaction(each) as connection:
                limits.append(connection.scalar(text("SHOW idle_in_transaction_session_timeout")))
    assert limits == ["10s", "0"]
