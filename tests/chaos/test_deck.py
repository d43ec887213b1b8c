"""Chance decides the order of faults, never their number."""

import random
from collections import Counter

import pytest

from foundation.faults import Moment
from tests.chaos.deck import DECK, SHORT, SHORT_ROUNDS, Fault, Hand, Harm, Strike, deal, hands


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a seed that can be given again


def _cards(dealt: list[Hand]) -> Counter[Fault]:
    return Counter(fault for hand in dealt for fault in hand)


def _moments(cards: Counter[Fault]) -> Counter[Moment]:
    found: Counter[Moment] = Counter()
    for fault, count in cards.items():
        if isinstance(fault, Strike):
            found[fault.moment] += count
    return found


@pytest.mark.parametrize("seed", range(5))
def test_two_hundred_rounds_come_to_every_moment_ten_times_and_do_every_harm(seed: int) -> None:
    dealt = list(deal(200, _chance(seed)))
    assert len(dealt) == 200
    assert all(1 <= len(hand) <= 2 for hand in dealt)
    cards = _cards(dealt)
    assert set(cards) == set(DECK)
    assert set(cards.values()) == {10}
    assert min(_moments(cards)[moment] for moment in Moment) >= 10


def test_a_seed_deals_the_same_again_and_another_seed_another() -> None:
    first, again, other = (list(deal(40, _chance(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_any_number_of_rounds_is_dealt() -> None:
    assert [len(list(deal(rounds, _chance(0)))) for rounds in (0, 1, 19, 21)] == [
        0,
        1,
        19,
        21,
    ]


def test_the_short_deck_comes_to_every_moment_and_kills_every_process() -> None:
    dealt = hands(SHORT, SHORT_ROUNDS, _chance(0))
    cards = _cards(dealt)
    assert set(_moments(cards)) == set(Moment)
    killed = {str(fault) for fault in cards if isinstance(fault, Harm)}
    for process in ("trainer", "worker", "API", "PostgreSQL", "Valkey", "gradbook up"):
        assert any(words.startswith("kill -9") and process in words for words in killed)
    assert {len(hand) for hand in dealt} == {4}
