"""Leaving: the word, and those who wait for it."""

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import anyio

from api.leaving import SIGNALS, Leaving, hearing_signals

LONG_SECONDS = 30.0


def test_who_waits_hears_the_word_at_once_and_ever_after() -> None:
    async def wait() -> tuple[bool, bool]:
        leaving = Leaving()
        asyncio.get_running_loop().call_later(0.01, leaving.begin)
        return await leaving.within(LONG_SECONDS), await leaving.within(LONG_SECONDS)

    begun = time.monotonic()
    assert asyncio.run(wait()) == (True, True)
    assert time.monotonic() - begun < LONG_SECONDS / 2


def test_without_the_word_the_time_passes() -> None:
    async def wait() -> tuple[bool, bool]:
        leaving = Leaving()
        return await leaving.within(0.01), leaving.begun

    assert asyncio.run(wait()) == (False, False)


def test_a_stream_is_cut_off_some_time_after_the_word() -> None:
    async def stream() -> float:
        leaving = Leaving(stream_seconds=0.05)
        leaving.begin()
        begun = time.monotonic()
        with leaving.cutting_off():
            await anyio.sleep(LONG_SECONDS)
        return time.monotonic() - begun

    assert 0.05 <= asyncio.run(stream()) < LONG_SECONDS / 2


def test_a_server_in_another_thread_leaves_the_signals_alone() -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(each) for each in SIGNALS]

    async def hear() -> list[object]:
        with hearing_signals(Leaving()):
            return handlers()

    before = handlers()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, hear()).result() == before
    assert handlers() == before
