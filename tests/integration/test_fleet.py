"""The fleet's table, and the reconciler that counts with it."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from models.tables import workers
from services.claims import Slot, claim
from services.database import transaction
from services.fleet import (
    FORGOTTEN_SECONDS,
    FRESH_SECONDS,
    Worker,
    forget_the_lost,
    fresh,
    heartbeat,
    leave,
)
from services.reconciling import Queue, queues_in_need
from tests.bookings import book_job


def member(
    name: str = "w",
    pid: int = 1,
    devices: tuple[str, ...] = ("cpu",),
    queues: tuple[str, ...] = ("default",),
) -> Worker:
    return Worker(name, "h", pid, devices, queues)


def beat(engine: Engine, worker: Worker) -> None:
    with transaction(engine) as connection:
        heartbeat(connection, worker)


def age(engine: Engine, name: str, seconds: float) -> None:
    then = func.clock_timestamp() - timedelta(seconds=seconds)
    with transaction(engine) as connection:
        connection.execute(update(workers).where(workers.c.name == name).values(last_seen=then))


def needs(engine: Engine) -> list[Queue]:
    with transaction(engine) as connection:
        return queues_in_need(connection)


def test_a_heartbeat_registers_a_worker_and_keeps_it_fresh(engine: Engine) -> None:
    beat(engine, member(devices=("cuda:0", "cpu")))
    age(engine, "w", FRESH_SECONDS + 1)
    with transaction(engine) as connection:
        assert not connection.execute(select(workers).where(fresh())).all()
    beat(engine, member(devices=("cuda:0", "cpu")))
    with transaction(engine) as connection:
        row = connection.execute(select(workers).where(fresh())).one()
    assert (row.slots, row.devices, row.queues) == (2, ["cuda:0", "cpu"], ["default"])
    assert row.last_seen > row.started_at


def test_a_worker_that_leaves_takes_only_its_own_row(engine: Engine) -> None:
    beat(engine, member(pid=2))
    with transaction(engine) as connection:
        leave(connection, member(pid=1))
        assert connection.scalar(select(workers.c.pid)) == 2
        leave(connection, member(pid=2))
        assert connection.scalar(select(workers.c.pid)) is None


def test_a_worker_that_was_not_seen_for_long_is_forgotten(engine: Engine) -> None:
    beat(engine, member("here"))
    beat(engine, member("lost"))
    age(engine, "lost", FORGOTTEN_SECONDS + 1)
    with transaction(engine) as connection:
        forget_the_lost(connection)
        assert list(connection.execute(select(workers.c.name)).scalars()) == ["here"]


@pytest.mark.parametrize(
    ("waiting", "slots", "running", "tickets"),
    [(0, 2, 0, 0), (1, 2, 0, 1), (5, 2, 0, 2), (5, 2, 1, 1), (5, 2, 2, 0)],
)
def test_a_queue_needs_a_ticket_for_each_job_that_a_free_slot_can_take(
    engine: Engine, waiting: int, slots: int, running: int, tickets: int
) -> None:
    beat(engine, member(devices=("cpu",) * slots))
    with transaction(engine) as connection:
        for _ in range(waiting + running):
            book_job(connection)
        for number in range(running):
            claim(connection, "default", Slot("w", "h", number, "cpu"), 6.0)
    found = {queue.name: queue.tickets for queue in needs(engine)}
    assert found.get("default", 0) == tickets


def test_jobs_that_nobody_can_take_need_no_ticket(engine: Engine) -> None:
    with transaction(engine) as connection:
        book_job(connection, device="cuda")
        book_job(connection, queue="other")
    assert needs(engine) == []
    beat(engine, member())
    assert needs(engine) == []
    beat(engine, member("gpu", devices=("cuda:0",)))
    assert needs(engine) == [Queue("default", 1, 2)]
    age(engine, "gpu", FRESH_SECONDS + 1)
    assert needs(engine) == []


def test_only_one_worker_counts_at_a_time(engine: Engine) -> None:
    beat(engine, member())
    with transaction(engine) as connection:
        book_job(connection)
    with transaction(engine) as connection:
        assert queues_in_need(connection)
        assert needs(engine) == []
    assert needs(engine)
