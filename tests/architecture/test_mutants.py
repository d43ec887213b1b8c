"""The mutants still fit the code, their tests are there, and docs/guarantees.md lists them."""

import pytest

from tests.architecture.sources import ROOT
from tests.mutants.catalogue import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_names_a_test(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.before) == 1
    file, _, test = mutant.test.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()


def test_the_page_of_guarantees_has_every_mutant_with_its_test() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    for mutant in MUTANTS:
        assert f"| {mutant.name} | `{mutant.test.partition('::')[2]}` |" in page
