"""`gradbook submit` over a network that breaks: the job is neither lost nor made twice."""

import httpx
import pytest
from sqlalchemy import Engine, func, select

from foundation.settings import Settings
from models.tables import jobs
from services.database import transaction
from tests.integration.test_cli_commands import SPEC, _done, _refused, _runner
from tests.lossy import Loss, lossy_way
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

ANSWER, REQUEST = Loss.ANSWER, Loss.REQUEST


def job_ids(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return [str(job_id) for job_id in connection.scalars(select(jobs.c.id))]


@pytest.mark.parametrize(
    "losses", [[ANSWER], [REQUEST], [ANSWER, ANSWER], [REQUEST, ANSWER]], ids=str
)
def test_a_submit_whose_connection_breaks_makes_its_job_once(
    api: httpx.Client, settings: Settings, engine: Engine, losses: list[Loss]
) -> None:
    with lossy_way(api, losses) as way:
        shown = _done(_runner(settings, way.url)("submit", "-", given=SPEC))
    assert shown.split() == job_ids(engine)
    assert len(way.keys) == len(losses) + 1
    assert len(set(way.keys)) == 1


def test_a_submit_that_never_gets_its_answer_says_what_is_not_known(
    api: httpx.Client, settings: Settings, engine: Engine
) -> None:
    with lossy_way(api, [ANSWER] * 4) as way:
        gradbook = _runner(settings, way.url)
        told = _refused(gradbook("submit", "-", given=SPEC))
        assert "its answer was lost" in told
        assert "`gradbook ls`" in told
        (job_id,) = job_ids(engine)
        assert job_id in _done(gradbook("ls"))
    assert len(way.keys) == 4


def test_each_submit_has_a_key_of_its_own(
    api: httpx.Client, settings: Settings, engine: Engine
) -> None:
    with lossy_way(api, []) as way:
        gradbook = _runner(settings, way.url)
        made = {_done(gradbook("submit", "-", given=SPEC)).strip() for _ in range(2)}
    assert made == set(job_ids(engine))
    assert None not in way.keys
    assert len(set(way.keys)) == 2


def test_a_spec_that_is_refused_after_a_break_is_told_as_such(
    api: httpx.Client, settings: Settings, engine: Engine
) -> None:
    with lossy_way(api, [ANSWER]) as way:
        bad = SPEC | {"epochs": 0}
        assert "epochs: " in _refused(_runner(settings, way.url)("submit", "-", given=bad))
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 0


def test_other_calls_are_not_sent_again(
    api: httpx.Client, settings: Settings, engine: Engine
) -> None:
    with lossy_way(api, [REQUEST]) as way:
        gradbook = _runner(settings, way.url)
        assert "nothing answers" in _refused(gradbook("plan", "-", given=SPEC))
    assert way.keys == [None]
    assert job_ids(engine) == []
