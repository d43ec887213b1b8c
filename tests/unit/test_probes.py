"""Probes: one question at a time, an answer in time, a hanging question given up."""

import asyncio
import itertools
import threading

import pytest

from api.probes import Probe


def test_many_who_ask_share_one_question() -> None:
    asked = itertools.count(1)

    async def ask_often() -> list[int]:
        probe = Probe(lambda: next(asked))
        return await asyncio.gather(*(probe.answer(5) for _ in range(10)))

    assert asyncio.run(ask_often()) == [1] * 10


def test_a_hanging_question_is_given_up_and_not_asked_again() -> None:
    release, asked = threading.Event(), []

    def hang() -> str:
        asked.append(1)
        assert release.wait(30)
        return "at last"

    async def ask_twice() -> str:
        probe = Probe(hang)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await probe.answer(0.01)
        release.set()
        return await probe.answer(30)

    assert asyncio.run(ask_twice()) == "at last"
    assert len(asked) == 1


def test_an_error_reaches_the_asker() -> None:
    def fail() -> None:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(Probe(fail).answer(5))


def test_a_question_that_outlives_its_loop_is_quiet() -> None:
    release = threading.Event()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await Probe(lambda: release.wait(30)).answer(0.01)

    asyncio.run(give_up())
    release.set()
    for thread in threading.enumerate():
        if thread.name == "probe":
            thread.join(30)
