"""Searches in SQL against the same searches in Python, over jobs of all sorts."""

import math
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, insert

from foundation.ids import new_id
from models.domain.lifecycle import FINISHED, State, StopReason
from models.domain.search import parse_filter, parse_orders
from models.tables import jobs, progress, summaries
from models.tables.outlines import USUAL
from services.database import transaction
from services.listing import Listing, list_jobs
from services.selecting import Selection
from tests.property.searched_jobs import fits, in_order

TEXTS = ["", "a", "b", "ab", "a%b", "a_b", "a\\b", "it's", "\u00fc\U0001f600"]
NUMBERS = [0, 1, -1, 2.5, 0.1, 1e-8, 1e30, 2**53 + 1, -0.0]
FLOATS = [*(float(number) for number in NUMBERS), math.nan, math.inf, -math.inf]
# Of as many iterations as there are here, answers are shares and seconds that need no rounding.
TOTALS, SPEEDS = [None, 0, 1, 2, 4, 5], [None, 0.0, 1e-12, 0.5, 2.0, 10.0]
MOMENTS = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "2026-02-01T00:00:00+05:30"]

scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS)
# What no spec of ours has, but JSON may: any value at any place.
specs = st.fixed_dictionaries(
    {},
    optional={
        "batch_size": scalars,
        "optimizer": scalars
        | st.fixed_dictionaries(
            {}, optional={"lr": scalars, "betas": st.lists(scalars, max_size=2)}
        ),
        "network": st.fixed_dictionaries({}, optional={"layers": st.lists(scalars, max_size=2)}),
        "notes": scalars,
        # What is usual is not in the outlines; what is missing is not usual.
        "threads": scalars,
        "stop": st.just(USUAL["stop"]) | st.fixed_dictionaries({"min_delta": scalars}),
    },
)
tags = st.dictionaries(st.sampled_from(["t", "u.v"]), st.sampled_from(TEXTS))
moments = st.none() | st.sampled_from(MOMENTS)
drawn_jobs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(TEXTS),
        "state": st.sampled_from(list(State)),
        "tags": tags,
        "spec": specs,
        "priority": st.integers(-2, 2),
        "reproducible": st.booleans(),
        "started_at": moments,
        "best_loss": st.none() | st.sampled_from(FLOATS),
        "test_loss": st.none() | st.sampled_from(FLOATS),
        "latest_loss": st.none() | st.sampled_from(FLOATS),
        "iteration": st.integers(0, 3),
        "iterations_total": st.sampled_from(TOTALS),
        "iterations_per_second": st.sampled_from(SPEEDS),
    }
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


numbers = st.sampled_from(NUMBERS).map(repr)
floats = numbers | st.sampled_from(["NaN", "Infinity", "-Infinity"])
texts = st.sampled_from(TEXTS).map(quoted)
patterns = st.sampled_from(["%", "a%", "_", "a\\%b", "a\\_b", "a\\\\b", "%b", "a_b", ""]).map(
    quoted
)
ordered = st.sampled_from(["<", "<=", ">", ">="])
equals = st.sampled_from(["=", "!="])
JSON_PATHS = [
    "spec.batch_size",
    "spec.optimizer",
    "spec.optimizer.lr",
    "spec.optimizer.betas.0",
    "spec.network.layers.1",
    "spec.notes",
    "spec.threads",
    "spec.stop.min_delta",
]
# An object counts as PostgreSQL writes it, which Python does not know.
SCALARS = [path for path in JSON_PATHS if path != "spec.optimizer"]
json_paths = st.sampled_from(JSON_PATHS)
number_paths = st.sampled_from(["summary.best_loss", "summary.test_loss", "loss"])
progress_paths = st.sampled_from(
    [f"progress.{name}" for name in ("fraction", "eta_seconds", "iterations_total")]
)
progress_numbers = st.sampled_from(["0", "0.1", "0.25", "0.5", "1", "2", "-0.5"])
text_paths = st.sampled_from(["name", "tags.t", 'tags."u.v"'])
TIMES = st.sampled_from(MOMENTS).map(quoted)


def phrase(*parts: Any) -> st.SearchStrategy[str]:  # noqa: ANN401 - texts and strategies of them
    given_parts = (part if not isinstance(part, str) else st.just(part) for part in parts)
    return st.tuples(*given_parts).map(" ".join)


def one_of(paths: Any, values: Any) -> st.SearchStrategy[str]:  # noqa: ANN401 - strategies
    listed = st.lists(values, min_size=1, max_size=3).map(", ".join)
    return phrase(paths, st.sampled_from(["in", "not in"]), "(", listed, ")")


json_values = numbers | texts | st.sampled_from(["true", "false"])
single = st.one_of(
    phrase(number_paths, equals | ordered, floats),
    phrase(st.sampled_from(["priority", "progress.iteration"]), equals | ordered, floats),
    phrase(text_paths, equals | ordered, texts),
    phrase(text_paths | json_paths, st.sampled_from(["like", "not like"]), patterns),
    phrase(progress_paths, equals | ordered, progress_numbers | floats),
    phrase("state", equals, st.sampled_from(list(State)).map(quoted)),
    phrase("reproducible", equals, st.sampled_from(["true", "false"])),
    phrase("started_at", equals | ordered, TIMES),
    phrase(json_paths, ordered, numbers | texts),
    phrase(json_paths, equals, json_values),
    phrase(
        number_paths | progress_paths | text_paths | json_paths | st.just("started_at"),
        equals,
        "null",
    ),
    one_of(json_paths, json_values),
    one_of(text_paths, texts),
    one_of(number_paths, floats),
)
filters = st.recursive(
    single,
    lambda inner: st.one_of(
        phrase("not (", inner, ")"), phrase("(", inner, st.sampled_from(["and", "or"]), inner, ")")
    ),
    max_leaves=6,
)
ORDERED = ["summary.best_loss", "loss", "name", "tags.t", "started_at", "priority", "state"]
ORDERED += ["progress.fraction", "progress.eta_seconds", "progress.iterations_total"]
orders = st.lists(
    st.tuples(st.sampled_from(["", "-"]), st.sampled_from([*ORDERED, *SCALARS])),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each[1],
).map(lambda each: ",".join(map("".join, each)))


def book(connection: Connection, drawn: dict[str, Any]) -> None:
    finished = drawn["state"] in FINISHED
    key = connection.execute(
        insert(jobs)
        .values(
            **{name: drawn[name] for name in ("name", "state", "tags", "spec", "priority")},
            id=new_id(),
            project="default",
            queue="default",
            notes="",
            max_attempts=3,
            device="cpu",
            spec_sha256="0" * 64,
            plan={"iterations_total": drawn["iterations_total"]},
            reproducible=drawn["reproducible"],
            started_at=drawn["started_at"],
            finished_at="2026-03-01T00:00:00Z" if finished else None,
            stop_reason=StopReason.EPOCHS if finished else None,
        )
        .returning(jobs.c.key)
    ).scalar_one()
    loss = drawn["latest_loss"]
    connection.execute(
        insert(progress).values(
            job_key=key,
            iteration=drawn["iteration"],
            iterations_per_second=drawn["iterations_per_second"],
            latest_loss=loss,
            latest_lr=None if loss is None else 0.1,
            latest_at=None if loss is None else "2026-01-01T00:00:00Z",
        )
    )
    connection.execute(
        insert(summaries).values(
            job_key=key, best_loss=drawn["best_loss"], test_loss=drawn["test_loss"]
        )
    )


def listed(connection: Connection, listing: Listing, limit: int = 1_000) -> list[Any]:
    """All pages of a list, as the API shows the jobs."""
    found: list[Any] = []
    cursor = None
    while True:
        page = list_jobs(connection, listing, limit, cursor, 60.0)
        found += orjson.loads(orjson.dumps(page.items, option=orjson.OPT_UTC_Z))
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.timeout(300)
@settings(
    max_examples=50,
    # Shrinking on a real database takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    drawn=st.lists(drawn_jobs, min_size=1, max_size=8),
    texts=st.lists(filters, min_size=1, max_size=8),
    order=orders,
    limit=st.integers(1, 4),
)
def test_a_search_finds_in_sql_what_it_finds_in_python_and_in_the_same_order(
    engine: Engine, drawn: list[dict[str, Any]], texts: list[str], order: str, limit: int
) -> None:
    with transaction(engine) as connection:
        for each in drawn:
            book(connection, each)
        upwards = listed(connection, Listing(Selection(), parse_orders("created_at")))
        assert len(upwards) == len(drawn)
        for text in texts:
            condition = parse_filter(text)
            listing = Listing(Selection(condition=condition), parse_orders("created_at"))
            found = [job["id"] for job in listed(connection, listing)]
            assert found == [job["id"] for job in upwards if fits(job, condition)], text
        wanted = parse_orders(order)
        found = [job["id"] for job in listed(connection, Listing(Selection(), wanted), limit)]
        assert found == [job["id"] for job in in_order(upwards, wanted)], order
        connection.execute(delete(jobs))
