"""docs/scale.md: its tables are the model's, and the model's pace is the worker's."""

import pytest

from benchmarks import scale_model
from benchmarks.fleet import Load
from benchmarks.scale_model import PARTS, SITES, Site, tables
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "scale.md").read_text()


@pytest.mark.parametrize("table", tables().split("\n\n"), ids=["costs", "sizes", "limits"])
def test_the_page_has_the_models_tables(table: str) -> None:
    assert f"\n\n{table}\n\n" in PAGE


def test_the_sizes_are_those_that_were_asked_for() -> None:
    assert [site.devices for site in SITES[:3]] == [10, 1_000, 100_000]


def test_a_device_flushes_as_often_as_a_simulated_supervisor() -> None:
    site = SITES[1]
    load = Load(site.iterations_a_second, site.layers)
    assert scale_model.flushes(site) == site.devices * load.flushes_a_second


def test_what_is_asked_of_every_part_grows_with_the_devices() -> None:
    for part, _, ask in PARTS:
        assert ask(Site("", 20_000)) == pytest.approx(10 * ask(Site("", 2_000))), part


def test_a_slower_pace_costs_less_of_what_flushes_cost_and_as_much_of_what_rows_do() -> None:
    often, seldom = SITES[2:]
    assert scale_model.rows(seldom) == scale_model.rows(often)
    assert scale_model.kept_bytes(seldom) == scale_model.kept_bytes(often)
    assert scale_model.flushes(seldom) == scale_model.flushes(often) / 8
    assert scale_model.cores(seldom) < scale_model.cores(often)
    assert scale_model.hours_to_freeze(seldom) > scale_model.hours_to_freeze(often)
