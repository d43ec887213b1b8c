"""Celery's pool of threads, one a slot, with an alarm clock for Celery's event loop."""

from typing import Any

from celery.concurrency.thread import ApplyResult, TaskPool
from kombu.asynchronous import Hub


class SlotPool(TaskPool):  # type: ignore[misc]  # celery has no types
    """Wakes the event loop when a thread becomes free.

    A full worker reads no tickets. Celery's loop looks again whether it is full only when it
    wakes by itself, up to a second later; a job that was posted meanwhile would wait for that.
    """

    _hub: Hub | None = None

    def register_with_event_loop(self, loop: Hub) -> None:
        """Celery says which loop is to be woken, again after each loss of the broker.

        Kombu's own get_event_loop() knows none any more after the first loss (seen on 5.7).
        """
        self._hub = loop

    def on_apply(self, *args: Any, **kwargs: Any) -> ApplyResult:  # noqa: ANN401 - as its base
        result = super().on_apply(*args, **kwargs)
        result.f.add_done_callback(lambda _done: wake(self._hub))
        return result


def wake(hub: Hub | None) -> None:
    """Let Celery's event loop look again at what it waits for; call from any thread."""
    if hub is not None:
        hub.call_soon(_nothing)  # type: ignore[no-untyped-call]


def _nothing() -> None:
    pass
