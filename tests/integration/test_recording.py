"""The flush: every bit of every row, under the fence, or nothing."""

import math
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text, update

from models.domain.errors import FenceLost
from models.domain.lifecycle import Phase, Wish
from models.tables import (
    artifacts,
    attempts,
    checkpoints,
    epochs,
    iterations,
    layer_readings,
    logs,
    summaries,
)
from models.tables import progress as progress_table
from services.copying import copy_rows
from services.database import transaction
from services.lifecycle import Happening, add_events
from services.pages import LayerReading, LogLine, Page
from services.recording import CheckpointAhead, Owner, RowsBroken, flush
from tests.bookings import book_job, events_of, job_of
from tests.integration.owned import LEASE_SECONDS, bits_of, write
from tests.pretenders import BATCHES, epoch_of, make_rows, reading
from tests.waiting import wait_until

BITS = st.integers(0, 2**64 - 1) | st.sampled_from(
    [
        struct.unpack("<Q", struct.pack("<d", number))[0]
        for number in (0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 5e-324, 1e308)
    ]
    + [0x7FF8_0000_0000_BEEF, 0xFFF8_0000_0000_0001]
)


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(floats=st.lists(st.tuples(BITS, BITS, BITS, BITS, st.booleans()), min_size=1, max_size=40))
def test_every_bit_of_every_number_arrives(
    engine: Engine, floats: list[tuple[int, int, int, int, bool]]
) -> None:
    rows = make_rows(1, len(floats))
    for place, name in enumerate(("loss", "lr", "seconds", "grad_norm")):
        rows[name] = np.array([each[place] for each in floats], "<u8").view("<f8")
    rows["has_grad_norm"] = [each[4] for each in floats]
    with transaction(engine) as connection:
        key = book_job(connection)
        copy_rows(connection, key, rows)
    expected = [
        (
            *(struct.pack(">Q", bits) for bits in each[:3]),
            struct.pack(">Q", each[3]) if each[4] else None,
        )
        for each in floats
    ]
    assert bits_of(engine, key) == expected


def test_rows_arrive_with_all_their_fields(engine: Engine, owner: Owner) -> None:
    rows = make_rows(1, 25)
    write(engine, owner, Page(rows=rows))
    with transaction(engine) as connection:
        found = connection.execute(
            select(iterations).where(iterations.c.job_key == owner.job_key).order_by("iteration")
        ).all()
    fields = ("iteration", "epoch", "batch", "samples", "loss", "lr", "seconds")
    assert [tuple(row[1:8]) for row in found] == rows[list(fields)].tolist()
    assert [row.grad_norm for row in found[:4]] == [2.0, None, None, 2.0]


def test_a_flush_moves_the_progress_and_renews_the_lease(engine: Engine, owner: Owner) -> None:
    before = job_of(engine, owner.job_key)
    rows = make_rows(1, 13)
    page = Page(
        rows=rows, phase=Phase.TRAIN, epoch=2, batch=3, iterations_per_second=9.5, running_seconds=2
    )
    write(engine, owner, page)
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rows, job.epoch, job.batch) == (13, 13, 2, 3)
    assert (job.phase, job.iterations_per_second, job.running_seconds) == ("train", 9.5, 2.0)
    assert (job.latest_loss, job.latest_lr) == (1 / 13, 0.1)
    assert job.lease_until > before.lease_until
    assert job.final_loss is None


def test_an_empty_flush_is_a_heartbeat(engine: Engine, owner: Owner) -> None:
    write(engine, owner, Page(rows=make_rows(1, 3), phase=Phase.TRAIN, epoch=1, batch=3))
    before = job_of(engine, owner.job_key)
    write(engine, owner, Page(running_seconds=1.0))
    after = job_of(engine, owner.job_key)
    assert after.lease_until > before.lease_until
    assert (after.iteration, after.phase, after.batch) == (3, "train", 3)


def test_a_page_holds_epochs_layers_files_logs_and_events(engine: Engine, owner: Owner) -> None:
    page = Page(
        rows=make_rows(1, BATCHES),
        epochs=[epoch_of(1)],
        layers=[LayerReading(1, [reading(0.5), reading(None), reading(math.inf)])],
        artifacts=[{"name": "a", "kind": "k", "uri": "u", "sha256": "s", "bytes": 3}],
        logs=[LogLine("stdout", "one"), LogLine("stderr", "two")],
        happenings=[Happening("warning", 1, {"message": "mi\x00nd", "data": {"x": math.nan}})],
        summary={"best_loss": 0.5, "test_accuracy": 0.9, "test_loss": math.nan, "unknown": 1},
        attempt={"pid": 7, "environment": {"torch": "2"}},
    )
    write(engine, owner, page)
    job = job_of(engine, owner.job_key)
    assert job.best_loss == 0.5
    assert (job.test_accuracy, job.val_loss) == (0.9, None)
    assert math.isnan(job.test_loss)
    with transaction(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(epochs)) == 1
        layers = connection.execute(select(layer_readings).order_by("position")).all()
        printed = connection.execute(select(logs.c.line, logs.c.text).order_by("line")).all()
        assert connection.scalar(select(artifacts.c.bytes)) == 3
        assert connection.scalar(select(attempts.c.pid)) == 7
    assert [(each.position, each.grad_norm) for each in layers] == [
        (0, 0.5),
        (1, None),
        (2, math.inf),
    ]
    assert printed == [(1, "one"), (2, "two")]
    happened = events_of(engine, owner.job_key)
    assert [(each.id, each.type) for each in happened[2:]] == [(3, "epoch"), (4, "warning")]
    assert happened[2].data["test_loss"] == "NaN"
    assert happened[3].data == {"message": "mind", "data": {"x": "NaN"}}


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# JSONB knows one zero: 0.0 is added.
@given(number=st.floats().map(lambda each: each + 0.0), count=st.integers(0, 2**31 - 1))
def test_every_number_of_epochs_and_summaries_arrives(
    engine: Engine, owner: Owner, number: float, count: int
) -> None:
    """They travel as JSON, which knows neither NaN nor infinity."""
    kinds = {float: number, int: count, str: "val_loss"}
    epoch, summary = (
        {each.name: kinds[each.type.python_type] for each in table.c if each.name != "job_key"}
        for table in (epochs, summaries)
    )
    mine = epochs.c.job_key == owner.job_key
    with transaction(engine) as connection:
        connection.execute(epochs.delete().where(mine))
        flush(connection, owner, Page(epochs=[epoch], summary=summary))
        flush(connection, owner, Page(summary={"best_epoch": 3, "val_loss": None}))
        booked = connection.execute(select(epochs).where(mine)).one()
        summed = connection.execute(
            select(summaries).where(summaries.c.job_key == owner.job_key)
        ).one()
    # By their words: NaN is not equal to itself.
    expected = {"job_key": owner.job_key, **epoch}
    assert str(booked._asdict()) == str(expected)
    expected = {"job_key": owner.job_key, **summary, "best_epoch": 3, "val_loss": None}
    assert str(summed._asdict()) == str(expected)


def test_an_artifact_written_again_takes_the_place_of_the_first(
    engine: Engine, owner: Owner
) -> None:
    for size in (1, 2):
        facts = {"name": "a", "kind": "k", "uri": f"u{size}", "sha256": "s", "bytes": size}
        write(engine, owner, Page(artifacts=[facts]))
    with transaction(engine) as connection:
        assert connection.execute(select(artifacts.c.uri, artifacts.c.bytes)).all() == [("u2", 2)]


def test_the_fence_stops_an_attempt_that_does_not_own_the_job(engine: Engine, owner: Owner) -> None:
    stranger = Owner(owner.job_key, owner.attempt + 1, LEASE_SECONDS)
    page = Page(rows=make_rows(1, 3), logs=[LogLine("stdout", "x")], epochs=[epoch_of(1)])
    for nobody in (stranger, Owner(10**9, 1, LEASE_SECONDS)):
        with pytest.raises(FenceLost):
            write(engine, nobody, page)
    assert bits_of(engine, owner.job_key) == []
    assert job_of(engine, owner.job_key).iteration == 0


@pytest.mark.parametrize("first", [1, 3, 5])
def test_rows_that_do_not_go_on_where_the_book_ends_are_refused(
    engine: Engine, owner: Owner, first: int
) -> None:
    write(engine, owner, Page(rows=make_rows(1, 3)))
    with pytest.raises(RowsBroken):
        write(engine, owner, Page(rows=make_rows(first, 2), logs=[LogLine("stdout", "x")]))
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rows, job.last_line) == (3, 3, 0)


@pytest.mark.parametrize("numbers", [[1, 2, 4], [1, 2, 2], [1, 3, 2], [1, 3, 4]])
def test_a_page_whose_rows_are_not_each_the_next_is_refused(
    engine: Engine, owner: Owner, numbers: list[int]
) -> None:
    rows = make_rows(1, 3)
    rows["iteration"] = numbers
    with pytest.raises(RowsBroken):
        write(engine, owner, Page(rows=rows))
    assert job_of(engine, owner.job_key).iteration == 0


def test_the_answer_carries_what_somebody_wants_and_since_when(
    engine: Engine, owner: Owner
) -> None:
    assert write(engine, owner, Page()).wanted is None
    with transaction(engine) as connection:
        connection.execute(
            update(progress_table).values(
                wanted=Wish.STOP, wanted_at=text("clock_timestamp() - interval '2 seconds'")
            )
        )
    answer = write(engine, owner, Page())
    assert answer.wanted is Wish.STOP
    assert answer.wanted_seconds == pytest.approx(2, abs=1)


def test_the_progress_of_a_running_job_stays_heap_only(engine: Engine, owner: Owner) -> None:
    for done in range(50):
        write(engine, owner, Page(rows=make_rows(done + 1, 1), phase=Phase.TRAIN))
    updated = text(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'progress'"
    )
    with transaction(engine) as connection:
        for done in range(50, 90):
            flush(connection, owner, Page(rows=make_rows(done + 1, 1), phase=Phase.TRAIN))
        total, hot = connection.execute(updated).one()
    assert total >= 40
    # Within one transaction nothing is pruned, so a page may fill up now and then.
    assert hot >= 0.5 * total


def test_a_checkpoint_supersedes_those_beyond_the_ones_kept(engine: Engine, owner: Owner) -> None:
    def saved(iteration: int) -> dict[str, object]:
        return {"iteration": iteration, "uri": f"c{iteration}", "sha256": "s", "bytes": 1}

    write(engine, owner, Page(rows=make_rows(1, 4)))
    first = write(engine, owner, Page(checkpoints=[saved(1), saved(2)], keep_checkpoints=2))
    assert first.superseded == ()
    second = write(engine, owner, Page(checkpoints=[saved(3), saved(4)], keep_checkpoints=2))
    assert set(second.superseded) == {"c1", "c2"}
    with transaction(engine) as connection:
        kept = connection.execute(select(checkpoints.c.iteration).order_by("iteration")).scalars()
        assert list(kept) == [3, 4]
    types = [each.type for each in events_of(engine, owner.job_key)]
    assert types.count("checkpoint") == 4


def test_a_checkpoint_of_an_iteration_that_has_one_takes_its_place(
    engine: Engine, owner: Owner
) -> None:
    def saved(uri: str) -> dict[str, object]:
        return {"iteration": 3, "uri": uri, "sha256": uri, "bytes": 1}

    first = Page(rows=make_rows(1, 3), checkpoints=[saved("a"), saved("b")])
    assert write(engine, owner, first).superseded == ("a",)
    assert write(engine, owner, Page(checkpoints=[saved("c")])).superseded == ("b",)
    # Written over in its place: the file is the new one's.
    assert write(engine, owner, Page(checkpoints=[saved("c")])).superseded == ()
    with transaction(engine) as connection:
        assert connection.scalars(select(checkpoints.c.uri)).all() == ["c"]


def test_a_checkpoint_is_not_booked_before_its_rows(engine: Engine, owner: Owner) -> None:
    early = {"iteration": 6, "uri": "c6", "sha256": "s", "bytes": 1}
    with pytest.raises(CheckpointAhead):
        write(engine, owner, Page(rows=make_rows(1, 5), checkpoints=[early]))
    assert job_of(engine, owner.job_key).rows == 0
    write(engine, owner, Page(rows=make_rows(1, 6), checkpoints=[early]))


def test_the_ids_of_a_jobs_events_are_in_the_order_of_commits(engine: Engine, owner: Owner) -> None:
    """A writer who comes second waits for the first: no id appears below one that was seen."""
    told = Happening("warning", owner.attempt, {})
    with engine.connect() as first, ThreadPoolExecutor(1) as thread:
        earlier = add_events(first, owner.job_key, [told])

        def add_another() -> int:
            with transaction(engine) as second:
                second.execute(text("SET LOCAL application_name = 'second writer'"))
                return add_events(second, owner.job_key, [told])

        later = thread.submit(add_another)
        waits = text(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'second writer'"
            " AND wait_event_type = 'Lock'"
        )

        def second_waits_or_is_done() -> bool:
            with transaction(engine) as connection:
                return later.done() or connection.scalar(waits) == 1

        wait_until(second_waits_or_is_done, 10, "the second writer waits")
        assert not later.done()
        assert [event.id for event in events_of(engine, owner.job_key)] == list(range(1, earlier))
        first.commit()
        assert later.result(10) == earlier + 1
