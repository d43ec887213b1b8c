"""What a flush changes every time is in no index: its updates stay on their page (HOT)."""

import pytest
from sqlalchemy import Engine, text

from services.database import transaction
from services.pages import Page
from services.recording import Owner, flush
from tests.pretenders import BATCHES, epoch_of, make_rows

FLUSHES = 300


def updates(engine: Engine) -> tuple[int, int]:
    """How many updates `progress` had, and how many of them were heap-only."""
    with transaction(engine) as connection:
        # What a session has counted is told at the latest when it is asked for it.
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with transaction(engine) as connection:
        row = connection.execute(
            text(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
                "WHERE relname = 'progress'"
            )
        ).one()
    return row.n_tup_upd, row.n_tup_hot_upd


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
    made, hot = after[0] - before[0], after[1] - before[1]
    assert made >= FLUSHES
    assert hot >= 0.95 * made
