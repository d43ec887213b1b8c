"""Entity tags say what their holder has seen."""

import pytest

from api.etags import etag_of, matches, standing_in
from models.domain.lifecycle import State
from services.standing import Standing

SEEN = Standing(State.RUNNING, 12)
ETAG = etag_of(SEEN, b"{}")


def test_a_tag_carries_state_and_epoch() -> None:
    assert standing_in(ETAG) == SEEN
    assert standing_in(f"W/{ETAG}") == SEEN


@pytest.mark.parametrize("strange", [None, "", "*", '"x"', '"flying.3.' + "0" * 24 + '"'])
def test_a_tag_of_somebody_else_says_nothing(strange: str | None) -> None:
    assert standing_in(strange) is None


def test_another_body_has_another_tag() -> None:
    assert etag_of(SEEN, b"{}") != etag_of(SEEN, b"[]")


@pytest.mark.parametrize("given", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
def test_a_tag_matches_itself_in_every_spelling(given: str) -> None:
    assert matches(given, ETAG)


@pytest.mark.parametrize("given", [None, "", '"other"', ETAG.strip('"')])
def test_nothing_else_matches(given: str | None) -> None:
    assert not matches(given, ETAG)
