"""One word for everybody: leave."""

from worker.shutdown import Shutdown


class Hands:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_grace_counts_from_the_first_word_however_often_it_is_said() -> None:
    clock = Hands()
    shutdown = Shutdown(10.0, clock)
    assert (shutdown.begun, shutdown.over) == (False, False)
    shutdown.begin()
    clock.seconds = 9.0
    shutdown.begin()
    assert (shutdown.begun, shutdown.over) == (True, False)
    clock.seconds = 10.0
    assert shutdown.over
