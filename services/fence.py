"""The fence: the one UPDATE by which an attempt proves that the job is still its own.

What happened goes with it, in the same statement: events, whose numbers it draws, the epochs that
some of them are of, and the summary. It is written out and given to the driver itself, for every
flush of every job runs it: to build it anew by expressions takes three times as long as the
database takes to execute it, and each statement more is a way to the database and back.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from models.domain.lifecycle import Wish
from models.rows import Rows
from services.jsonb import storable, write_json
from services.lifecycle import Happening
from services.pages import Page


class Crossed(NamedTuple):
    """What the fence said; the counters are as they are after it."""

    wanted: Wish | None
    wanted_seconds: float
    iteration: int
    last_event: int
    last_line: int
    flushes: int


_CROSS = """
    WITH crossed AS (
        UPDATE progress SET
            lease_until = clock_timestamp() + make_interval(secs => %(lease_seconds)s),
            last_event = last_event + %(events)s,
            last_line = last_line + %(lines)s,
            flushes = flushes + 1,
            running_seconds = %(running_seconds)s,
            phase = coalesce(%(phase)s, phase),
            epoch = coalesce(%(epoch)s, epoch),
            batch = coalesce(%(batch)s, batch),
            iterations_per_second = coalesce(%(iterations_per_second)s, iterations_per_second),
            iteration = iteration + %(rows)s,
            rows = rows + %(rows)s,
            latest_loss = CASE WHEN %(rows)s > 0 THEN %(loss)s ELSE latest_loss END,
            latest_lr = CASE WHEN %(rows)s > 0 THEN %(lr)s ELSE latest_lr END,
            latest_at = CASE WHEN %(rows)s > 0 THEN clock_timestamp() ELSE latest_at END
        WHERE job_key = %(job_key)s AND attempt = %(attempt)s
            AND iteration = coalesce(%(after)s, iteration)
        RETURNING wanted, coalesce(extract(epoch FROM clock_timestamp() - wanted_at), 0) AS ago,
            iteration, last_event, last_line, flushes
    ),
    told AS (
        SELECT happened ->> 0 AS kind, (happened ->> 1)::int4 AS tried, happened -> 2 AS data, place
        FROM jsonb_array_elements(%(happenings)s::jsonb) WITH ORDINALITY AS told (happened, place)
    ),
    ended AS (
        INSERT INTO epochs
        SELECT epoch.* FROM crossed, told, jsonb_populate_record(
            NULL::epochs, told.data || jsonb_build_object('job_key', %(job_key)s)
        ) AS epoch
        WHERE told.kind = 'epoch'
    ),
    summed AS (
        UPDATE summaries SET (
            final_loss, best_loss, train_loss, train_accuracy, val_loss, val_accuracy,
            test_loss, test_accuracy, best_metric, best_value, best_epoch, best_iteration
        ) = (
            SELECT
                final_loss, best_loss, train_loss, train_accuracy, val_loss, val_accuracy,
                test_loss, test_accuracy, best_metric, best_value, best_epoch, best_iteration
            FROM jsonb_populate_record(summaries, %(summary)s::jsonb)
        )
        FROM crossed WHERE summaries.job_key = %(job_key)s AND %(summary)s::jsonb IS NOT NULL
    ),
    noted AS (
        INSERT INTO events (job_key, id, type, attempt, data)
        SELECT %(job_key)s, crossed.last_event - %(events)s + place, kind, tried, data
        FROM crossed, told
    )
    SELECT wanted, ago, iteration, last_event, last_line, flushes FROM crossed
"""


def cross_fence(
    connection: Connection,
    job_key: int,
    attempt: int,
    page: Page,
    *,
    lease_seconds: float,
    happenings: Sequence[Happening],
) -> Crossed | None:
    """Renew the lease, move the progress on and write what happened; None, and nothing is changed,
    where it is refused.

    It is where the attempt does not own the job, or the page's rows do not go on where the book
    ends.

    Args:
        connection: the transaction.
        job_key: the job.
        attempt: who writes.
        page: what is written.
        lease_seconds: from now.
        happenings: the events that the page amounts to; one of the type `epoch` is booked as
            an epoch too.

    """
    driver: Any = connection.connection.driver_connection
    found = driver.execute(
        _CROSS,
        {
            "job_key": job_key,
            "attempt": attempt,
            "lease_seconds": lease_seconds,
            "events": len(happenings),
            "summary": write_json(storable(page.summary)) if page.summary else None,
            # As one text: of an array the driver writes each element by itself.
            "happenings": write_json(storable(happenings)),
            "lines": len(page.logs),
            "running_seconds": page.running_seconds,
            "phase": page.phase,
            "epoch": page.epoch,
            "batch": page.batch,
            "iterations_per_second": page.iterations_per_second,
            **_last_of(page.rows),
        },
    ).fetchone()
    if found is None:
        return None
    wanted, *rest = found
    return Crossed(None if wanted is None else Wish(wanted), float(rest[0]), *rest[1:])


def _last_of(rows: Rows | None) -> dict[str, Any]:
    if rows is None:
        return {"rows": 0, "after": None, "loss": None, "lr": None}
    last = rows[-1]
    return {
        "rows": len(rows),
        "after": int(rows["iteration"][0]) - 1,
        "loss": float(last["loss"]),
        "lr": float(last["lr"]),
    }
