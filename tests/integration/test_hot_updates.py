"""What a flush changes every time is in no index: its updates stay on their page (HOT)."""

import math
from collections import Counter

import pytest
from sqlalchemy import Engine, text

from services.database import transaction
from services.pages import Page
from services.recording import Owner, flush
from tests.measured import block_of, iteration_metrics
from tests.pretenders import BATCHES, epoch_of, make_rows

FLUSHES = 300
EPOCHS, BATCHES_PER_EPOCH, ROWS = 10, 196, 14
"""CIFAR-10 in batches of 256, on a device that makes 14 iterations between two flushes."""
HOT = 0.95


def updates(engine: Engine) -> tuple[Counter[str], Counter[str]]:
    """How many updates each table had, and how many of them were heap-only."""
    with transaction(engine) as connection:
        # What a session has counted is told at the latest when it is asked for it.
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with transaction(engine) as connection:
        rows = connection.execute(
            text("SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables")
        ).all()
    return (
        Counter({row.relname: row.n_tup_upd for row in rows}),
        Counter({row.relname: row.n_tup_hot_upd for row in rows}),
    )


@pytest.mark.parametrize("with_rows", [True, False], ids=["rows", "heartbeats"])
def test_a_running_jobs_flushes_stay_hot(engine: Engine, owner: Owner, *, with_rows: bool) -> None:
    before = updates(engine)
    for number in range(1, FLUSHES + 1):
        page = Page()
        if with_rows:
            # Each flush ends an epoch and writes the summary, whose numbers are in indexes.
            rows = make_rows((number - 1) * BATCHES + 1, BATCHES)
            epoch = epoch_of(number)
            summary = {"train_loss": epoch["train_loss"], "best_loss": epoch["train_loss"]}
            page = Page(rows=rows, epochs=[epoch], summary=summary)
        with transaction(engine) as connection:
            flush(connection, owner, page)
    after = updates(engine)
    made, hot = (
        now["progress"] - then["progress"] for then, now in zip(before, after, strict=True)
    )
    assert made >= FLUSHES
    assert hot >= HOT * made


def test_over_a_jobs_life_only_ends_of_epochs_change_what_is_in_an_index(
    engine: Engine, owner: Owner
) -> None:
    """In `summaries` the numbers are what searches are served by, so an index each has to change.

    That is once an epoch, however many flushes it has. What changes with every flush, the
    metrics' rows too, is counted table by table, and none may be anything but heap-only.
    """
    before = updates(engine)
    last = EPOCHS * BATCHES_PER_EPOCH
    for first in range(1, last + 1, ROWS):
        with transaction(engine) as connection:
            flush(connection, owner, page_from(first))
    made, hot = (now - then for then, now in zip(before, updates(engine), strict=True))
    flushes = math.ceil(last / ROWS)
    assert 0 < made.pop("summaries") <= EPOCHS
    assert made["progress"] >= flushes
    assert made["metrics"] >= flushes
    cold = {table: (count, hot[table]) for table, count in made.items() if hot[table] < HOT * count}
    assert not cold


def page_from(first: int) -> Page:
    """ROWS rows with their metrics; the last ones of an epoch bring it and the summary."""
    rows = make_rows(first, ROWS)
    rows["epoch"] = (rows["iteration"] - 1) // BATCHES_PER_EPOCH + 1
    rows["batch"] = (rows["iteration"] - 1) % BATCHES_PER_EPOCH + 1
    last = first + ROWS - 1
    page = Page(rows=rows, metrics=block_of(*iteration_metrics(first, last)))
    if last % BATCHES_PER_EPOCH == 0:
        number = last // BATCHES_PER_EPOCH
        began = last - BATCHES_PER_EPOCH + 1
        page.epochs = [
            epoch_of(number)
            | {"batches": BATCHES_PER_EPOCH, "first_iteration": began, "last_iteration": last}
        ]
        page.summary = {"train_loss": 1 / number, "best_loss": 1 / number}
    return page
