"""Whatever stands wherever in a spec: it is taken and resolves to itself, or is refused."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from models.domain.errors import Location, SpecInvalid
from models.domain.plan import make_plan
from models.domain.spec import parse_spec, resolve
from tests.specs import layered

WHOLE = resolve(
    parse_spec(
        {
            "dataset": {"name": "synthetic", "shape": [3, 8, 8]},
            "network": layered(
                {"conv": {"channels": 3, "kernel": 3}},
                {"residual": {"layers": [{"conv": {"channels": 4, "kernel": 1, "stride": 2}}]}},
                {"max_pool": {"size": 2}},
                {"flatten": {}},
                {"linear": {"features": 10}},
            ),
            "augment": [{"cutout": {"size": 2}}],
            "epochs": 2,
            "loss": {"weight": [1] * 10},
            "grad_clip": {"max_norm": 1},
            "schedule": {"name": "multi_step", "epochs": [1], "gamma": 0.1},
        }
    )
)


def _places(value: object, place: Location = ()) -> Iterator[Location]:
    if place:
        yield place
    children = value.items() if isinstance(value, dict) else ()
    for key, child in enumerate(value) if isinstance(value, list) else children:
        yield from _places(child, (*place, key))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 12),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["full", "conv", "adam", "cosine", "\0", "\ud800", 10**400]),
)
keys = st.one_of(st.text(max_size=5), st.sampled_from(["name", "layers", "conv", "kernel_size"]))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(_places(WHOLE))), values), min_size=1, max_size=3))
def test_a_spec_is_taken_and_resolves_to_itself_or_is_refused_at_places_that_can_be_sent(
    changes: list[tuple[Location, Any]],
) -> None:
    raw = copy.deepcopy(WHOLE)
    for place, value in changes:
        _put(raw, place, value)
    try:
        spec = parse_spec(raw)
        make_plan(spec)
    except SpecInvalid as refused:
        event("refused")
        told = [[*breach.loc, breach.msg] for breach in refused.breaches]
        assert told
        assert json.dumps(told, ensure_ascii=False).encode()
        return
    event("taken")
    resolved = resolve(spec)
    assert resolve(parse_spec(json.loads(json.dumps(resolved, allow_nan=False)))) == resolved


def _put(raw: dict[str, Any], place: Location, value: object) -> None:
    """Put the value there, where an earlier change has left such a place."""
    inside: Any = raw
    for key in place[:-1]:
        if not _has(inside, key):
            return
        inside = inside[key]
    if isinstance(inside, dict) or _has(inside, place[-1]):
        inside[place[-1]] = value


def _has(value: object, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)
