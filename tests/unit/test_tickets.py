"""Tickets leave in the background, however the broker is."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from api.tickets import MOST_TICKETS_A_QUEUE, PAUSE_SECONDS, Publish, Tickets
from tests.waiting import wait_until


@contextmanager
def publishing(publish: Publish) -> Iterator[Tickets]:
    tickets = Tickets(publish)
    tickets.start()
    try:
        yield tickets
    finally:
        tickets.stop()


def test_each_job_gets_a_ticket_in_its_queue() -> None:
    sent: list[str] = []
    with publishing(sent.append) as tickets:
        tickets.wake("default", 2)
        tickets.wake("vision")
        wait_until(lambda: len(sent) == 3, 5, "three tickets are published")
    assert sorted(sent) == ["default", "default", "vision"]


def test_between_two_tickets_is_a_pause() -> None:
    sent: list[float] = []
    with publishing(lambda _queue: sent.append(time.monotonic())) as tickets:
        tickets.wake("default", 3)
        tickets.wake("vision", 2)
        wait_until(lambda: len(sent) == 5, 5, "five tickets are published")
    assert min(later - earlier for earlier, later in pairwise(sent)) >= PAUSE_SECONDS


def test_a_broker_that_hangs_holds_up_nobody_and_a_flood_is_a_handful() -> None:
    free = threading.Event()
    sent: list[str] = []

    def hang(queue: str) -> None:
        free.wait(10)
        sent.append(queue)

    with publishing(hang) as tickets:
        for _ in range(10_000):
            tickets.wake("default")
        assert not sent
        free.set()
        wait_until(lambda: len(sent) >= MOST_TICKETS_A_QUEUE, 5, "the handful is published")
    assert len(sent) <= MOST_TICKETS_A_QUEUE + 1


def test_a_broker_that_fails_does_not_end_the_thread() -> None:
    sent: list[str] = []

    def fail_first(queue: str) -> None:
        sent.append(queue)
        if len(sent) == 1:
            raise ConnectionError("away")

    with publishing(fail_first) as tickets:
        tickets.wake("default")
        wait_until(lambda: sent, 5, "the first is tried")
        tickets.wake("default")
        wait_until(lambda: len(sent) == 2, 5, "the second is published")
