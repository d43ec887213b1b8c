"""Keys of requests: what they are the keys of, and how they are forgotten."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from foundation.ids import new_id
from foundation.settings import LimitsSettings
from models.tables import idempotency_keys, jobs
from services.database import transaction
from services.idempotency import (
    KEPT,
    MOST_FORGOTTEN,
    KeyedRequest,
    forget_old_keys,
    request_sha256,
    submit_once,
)
from services.submission import draft_job
from tests.integration.test_api_jobs_deleting import _somebody_waits
from tests.submitted import spec_of
from tests.waiting import wait_until

A_MINUTE = timedelta(minutes=1)


def keep(connection: Connection, age: timedelta, *keys: str) -> None:
    """Write keys down that were used so long ago."""
    at = connection.execute(select(func.now() - age)).scalar_one()
    rows = [{"key": k, "request_sha256": "", "job_ids": [new_id()], "created_at": at} for k in keys]
    connection.execute(insert(idempotency_keys), rows)


def left(engine: Engine) -> set[str]:
    with transaction(engine) as connection:
        return set(connection.scalars(select(idempotency_keys.c.key)))


def forget(engine: Engine) -> int:
    with transaction(engine) as connection:
        return forget_old_keys(connection)


def test_a_key_is_kept_for_seven_days_and_then_forgotten(engine: Engine) -> None:
    assert timedelta(days=7) <= KEPT
    with transaction(engine) as connection:
        keep(connection, KEPT - A_MINUTE, "young")
        keep(connection, KEPT + A_MINUTE, "old", "as old")
        keep(connection, KEPT * 10, "ancient")
    assert forget(engine) == 3
    assert left(engine) == {"young"}
    assert forget(engine) == 0


def test_many_old_keys_are_forgotten_a_part_at_a_time_the_oldest_first(engine: Engine) -> None:
    with transaction(engine) as connection:
        keep(connection, KEPT + A_MINUTE, "old", "as old")
        keep(connection, KEPT + 2 * A_MINUTE, *map(str, range(MOST_FORGOTTEN)))
    assert forget(engine) == MOST_FORGOTTEN
    assert left(engine) == {"old", "as old"}
    assert forget(engine) == 2


def test_two_who_forget_at_once_do_not_wait_for_each_other(engine: Engine) -> None:
    with transaction(engine) as connection:
        keep(connection, KEPT + A_MINUTE, "old")
    with transaction(engine) as connection:
        assert forget_old_keys(connection) == 1
        assert forget(engine) == 0


def test_a_key_that_is_being_forgotten_makes_a_new_job(engine: Engine) -> None:
    request = KeyedRequest("old", request_sha256("/v1/jobs", spec_of()))
    draft = draft_job(spec_of(), LimitsSettings())

    def submit_again() -> bool:
        with transaction(engine) as connection:
            return submit_once(connection, [draft], request).replayed

    with transaction(engine) as connection:
        keep(connection, KEPT + A_MINUTE, "old")
    with ThreadPoolExecutor(1) as other:
        with transaction(engine) as connection:
            forget_old_keys(connection)
            again = other.submit(submit_again)
            wait_until(lambda: _somebody_waits(engine), 10, "the submit waits")
        assert again.result() is False
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 1
    assert left(engine) == {"old"}


@pytest.mark.parametrize(
    "other",
    [{"a": 1.0, "b": "é"}, {"a": 1, "b": "e"}, {"a": 1}, {"a": 1, "b": "é", "c": None}, [], None],
)
def test_another_value_is_another_request(other: object) -> None:
    body = {"a": 1, "b": "é"}
    assert request_sha256("/v1/jobs", other) != request_sha256("/v1/jobs", body)


def test_a_request_is_its_route_and_its_body_whatever_the_order_of_names() -> None:
    one, other = {"a": 1, "b": {"c": [1], "d": 2}}, {"b": {"d": 2, "c": [1]}, "a": 1}
    assert request_sha256("/v1/jobs", one) == request_sha256("/v1/jobs", other)
    assert request_sha256("/v1/jobs", one) != request_sha256("/v1/jobs/batch", one)
