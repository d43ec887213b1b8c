"""Layers that have died or run away are named, once each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.domain.checkpoints import Kept
from models.domain.lifecycle import Wish
from tests.trainings import SMALL, Book, train_spec
from worker.training.errors import Suspended
from worker.training.health import IN_A_ROW, find_ailing
from worker.training.state import LoopState

DEEP = [
    {"flatten": {}},
    {"linear": {"features": 16}},
    {"relu": {}},
    {"linear": {"features": 16}},
    {"relu": {}},
    {"linear": {"features": 10}},
]
DEEP_NAMES = ("flatten1", "linear1", "relu1", "linear2", "relu2", "linear3")


def ailing(book: Book) -> list[tuple[str, int, list[str]]]:
    return [
        (message.split(":")[0], data["iteration"], data["layers"])
        for message, data in book.all("warning")
        if "layers" in data
    ]


# Steps a thousand times too long: first everything explodes, then nothing comes out of the first
# layers any more, for good.
WILD = SMALL | {
    "network": {"layers": DEEP},
    "optimizer": {"name": "sgd", "lr": 1000.0},
    "stop": {"on_non_finite": "continue"},
    "record": {"layers_every": 1},
}


def test_layers_that_explode_and_die_are_named_when_three_readings_say_so(tmp_path: Path) -> None:
    _, book = train_spec(WILD, tmp_path)
    readings = {at: {each["layer"]: each for each in found} for at, found in book.all("layers")}
    last = DEEP_NAMES[-1]

    def dead(at: int, layer: str) -> bool:
        own, most = readings[at][layer]["error_norm"], readings[at][last]["error_norm"]
        return bool(own == 0 and most > 0)

    def exploding(at: int, layer: str) -> bool:
        own = readings[at][layer]
        large = own["error_norm"] > 1000 * readings[at][last]["error_norm"]
        return bool(large or (own["update_ratio"] or 0) > 1)

    expected = {
        (words, layer, at)
        for words, is_ill in (("layers are dead", dead), ("layers are exploding", exploding))
        for layer in DEEP_NAMES
        if (at := _third_in_a_row(is_ill, layer))
    }
    told = [(words, layer, at) for words, at, layers in ailing(book) for layer in layers]
    assert sorted(told) == sorted(expected)
    assert {layer for words, layer, _ in told if words == "layers are dead"} >= {"linear1"}
    assert {layer for words, layer, _ in told if words == "layers are exploding"} >= {"linear3"}


def _third_in_a_row(is_ill: Callable[[int, str], bool], layer: str) -> int | None:
    rows = range(IN_A_ROW, 15)
    return next((at for at in rows if all(is_ill(at - back, layer) for back in range(3))), None)


def test_a_healthy_training_names_nobody(tmp_path: Path) -> None:
    spec = SMALL | {"network": {"name": "small_cnn"}, "record": {"layers_every": 1}}
    _, book = train_spec(spec, tmp_path)
    assert ailing(book) == []


def reading(layer: str, error: float, grad: float | None = None) -> dict[str, Any]:
    return {"layer": layer, "error_norm": error, "grad_norm": grad, "update_ratio": None}


def test_an_ill_must_last_and_is_told_once() -> None:
    counts: dict[str, int] = {}
    dead, well = ([reading("conv1", error), reading("linear1", 1.0)] for error in (0.0, 0.5))
    told = [find_ailing(counts, each, scaled=False) for each in [dead, dead, well, *[dead] * 5]]
    assert [bool(each) for each in told] == [False, False, False, False, False, True, False, False]
    assert told[5][0][1] == ["conv1"]
    assert find_ailing(counts, well, scaled=False) == []


def test_a_network_that_errs_no_more_is_not_dead() -> None:
    done = [reading("conv1", 0.0), reading("linear1", 0.0)]
    counts: dict[str, int] = {}
    assert not any(find_ailing(counts, done, scaled=False) for _ in range(5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_told_at_once_but_where_a_scaler_looks_for_its_scale(
    bad: float,
) -> None:
    for broken in ([reading("conv1", bad)], [reading("conv1", 1.0, bad)]):
        readings = [*broken, reading("linear1", 1.0)]
        assert find_ailing({}, readings, scaled=False)[0][1] == ["conv1"]
        assert find_ailing({}, readings, scaled=True) == []


def test_errors_that_grow_to_a_thousand_times_on_their_way_explode() -> None:
    counts: dict[str, int] = {}
    steep = [reading("conv1", 1001.0), reading("conv2", 999.0), reading("linear1", 1.0)]
    told = [find_ailing(counts, steep, scaled=False) for _ in range(IN_A_ROW)]
    assert told[:-1] == [[], []]
    ((words, layers),) = told[-1]
    assert words.startswith("layers are exploding")
    assert layers == ["conv1"]


def test_nothing_is_told_again_after_a_resume(tmp_path: Path) -> None:
    first = Book()

    def pause(book: Book) -> Wish | None:
        return Wish.PAUSE if ailing(book) else None

    with pytest.raises(Suspended):
        train_spec(WILD, tmp_path, book=first, wish=pause)
    (kept,) = first.all("checkpoint")
    checkpoint = Kept(kept["iteration"], kept["uri"], kept["sha256"])
    _, second = train_spec(WILD, tmp_path, attempt=2, checkpoints=(checkpoint,))
    _, whole = train_spec(WILD, tmp_path / "whole")
    assert ailing(first)
    assert ailing(second)
    assert [*ailing(first), *ailing(second)] == ailing(whole)


def test_a_checkpoint_of_an_earlier_release_is_taken() -> None:
    plain = LoopState(iteration=7).to_plain()
    del plain["ailing"]
    state = LoopState.from_plain(plain)
    assert (state.iteration, state.ailing) == (7, {})
