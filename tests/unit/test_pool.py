"""The pool of slots and Celery's event loop."""

import threading

from kombu.asynchronous import Hub, get_event_loop, set_event_loop

from worker.pool import SlotPool


class Bell(Hub):
    """A loop that tells when somebody wakes it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rung = threading.Event()

    def call_soon(self, callback: object, *arguments: object) -> object:
        self.rung.set()
        return super().call_soon(callback, *arguments)  # type: ignore[no-untyped-call]


def run(pool: SlotPool) -> None:
    pool.on_apply(lambda: None, (), callback=lambda _returned: None).get()


def test_a_slot_that_gets_free_wakes_the_loop_after_a_lost_connection_too() -> None:
    bell = Bell()
    set_event_loop(bell)
    pool = SlotPool(limit=1)
    pool.register_with_event_loop(bell)
    try:
        run(pool)
        assert bell.rung.wait(10)
        # What Celery does when it has lost the broker; kombu forgets the loop at that.
        bell.reset()  # type: ignore[no-untyped-call]
        assert get_event_loop() is None
        bell.rung.clear()
        run(pool)
        assert bell.rung.wait(10)
    finally:
        pool.on_stop()
        bell.close()  # type: ignore[no-untyped-call]
        set_event_loop(None)
