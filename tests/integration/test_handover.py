"""Whether a ticket that is of no use here is of use to another worker."""

from datetime import timedelta

from sqlalchemy import Engine, func, update

from models.tables import workers
from services.claims import Slot, claim
from services.database import transaction
from services.fleet import FRESH_SECONDS, Worker, heartbeat
from services.handover import fits_elsewhere
from tests.bookings import book_job


def join(engine: Engine, name: str, *devices: str, queue: str = "default") -> None:
    with transaction(engine) as connection:
        heartbeat(connection, Worker(name, "h", 1, devices, [queue]))


def book(engine: Engine, **spec: object) -> None:
    with transaction(engine) as connection:
        book_job(connection, **spec)  # type: ignore[arg-type]


def elsewhere(engine: Engine, *tried: str) -> bool:
    with transaction(engine) as connection:
        return fits_elsewhere(connection, "default", "me", tried)


def test_a_free_slot_of_another_worker_may_fit_what_waits(engine: Engine) -> None:
    join(engine, "me", "cpu", "cuda:0")
    join(engine, "other", "cuda:0")
    assert not elsewhere(engine, "cpu")
    book(engine, device="cuda")
    assert elsewhere(engine, "cpu")
    # The slot that it fits was tried here: then it is being claimed by somebody.
    assert not elsewhere(engine, "cpu", "cuda:0")


def test_what_fits_the_tried_slot_is_not_handed_over(engine: Engine) -> None:
    join(engine, "me", "cpu")
    join(engine, "other", "cuda:0")
    book(engine, device="cpu")
    book(engine, device="auto")
    assert not elsewhere(engine, "cpu")


def test_a_slot_is_counted_by_its_own_device_and_while_it_is_free(engine: Engine) -> None:
    join(engine, "me", "cpu")
    join(engine, "other", "cpu", "cuda:1")
    with transaction(engine) as connection:
        book_job(connection, device="cuda:1")
        assert claim(connection, "default", Slot("other", "h", 1, "cuda:1"), 6.0)
    book(engine, device="cuda")
    assert not elsewhere(engine, "cpu")
    join(engine, "third", "cuda:0")
    assert elsewhere(engine, "cpu")


def test_neither_this_worker_nor_one_of_another_queue_nor_a_lost_one_counts(
    engine: Engine,
) -> None:
    join(engine, "me", "cpu", "cuda:0")
    join(engine, "fast", "cuda:0", queue="fast")
    join(engine, "lost", "cuda:0")
    book(engine, device="cuda")
    assert elsewhere(engine, "cpu")
    then = func.clock_timestamp() - timedelta(seconds=FRESH_SECONDS + 1)
    with transaction(engine) as connection:
        connection.execute(update(workers).where(workers.c.name == "lost").values(last_seen=then))
    assert not elsewhere(engine, "cpu")
