"""Cursors: what was written comes back, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from models.domain.errors import CursorInvalid
from services.cursors import decode_cursor, encode_cursor, list_name

payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
).filter(lambda payload: len(str(payload)) < 500)


@given(payloads, st.text())
def test_a_cursor_gives_back_its_payload(payload: JsonValue, kind: str) -> None:
    assert decode_cursor(kind, encode_cursor(kind, payload)) == payload


@given(st.text())
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor("jobs", text)


@pytest.mark.parametrize(
    "text", ["", "0", "====", "a b", "\x00", "é", "A" * 100_000, "AAAAAAAAAAAA"]
)
def test_an_odd_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor("jobs", text)


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    cursor = encode_cursor("jobs", [12, "newest", None])
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCDabcd0189-_").filter(lambda c: c != cursor[place]))
    with pytest.raises(CursorInvalid):
        decode_cursor("jobs", cursor[:place] + other + cursor[place + 1 :])


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = encode_cursor(list_name("jobs", {"project": "a"}), 7)
    with pytest.raises(CursorInvalid):
        decode_cursor(list_name("jobs", {"project": "b"}), cursor)


def test_the_order_of_filters_does_not_matter() -> None:
    assert list_name("jobs", {"a": 1, "b": 2}) == list_name("jobs", {"b": 2, "a": 1})
