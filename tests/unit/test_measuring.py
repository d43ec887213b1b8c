"""The figures that benches publish: ratios of pairs, their intervals, their page."""

from pathlib import Path

import pytest

from benchmarks import measuring
from benchmarks.measuring import Line, in_pairs, publish, ratios_of


def test_a_ratio_is_the_median_of_pairs_within_its_interval() -> None:
    ratios = ratios_of([2.0, 4.0, 9.0, 2.2, 2.0], [1.0, 2.0, 3.0, 1.0, 1.0])
    assert ratios.median == 2.0
    assert ratios.low == 2.0
    assert 2.2 <= ratios.high <= 3.0


def test_the_two_of_a_pair_take_turns_at_being_first() -> None:
    order: list[str] = []
    ones, others = in_pairs(lambda: order.append("a"), lambda: order.append("b"), 3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert len(ones) == len(others) == 3


def test_a_bench_rewrites_its_own_section_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "RESULTS.md"
    monkeypatch.setattr(measuring, "RESULTS", page)
    assert publish("Second", [Line("speed", "1")], keep=True) == 0
    assert publish("First", [Line("speed", "2", "at least 3", reached=False)], keep=True) == 1
    assert publish("Second", [Line("speed", "4")], keep=True) == 0
    publish("Third", [Line("speed", "5")], keep=False)
    text = page.read_text()
    assert text.startswith("# Results\n")
    assert text.index("## First") < text.index("## Second")
    assert "| speed | 4 |" in text
    assert "| speed | 1 |" not in text
    assert "| speed | 2 | at least 3 | **not reached** |" in text
    assert "Third" not in text
