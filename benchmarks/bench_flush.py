"""The durable flush against a bare COPY of the same rows, both committed, in the same run.

A flush renews the lease and checks the fence, writes rows, rollups, the epochs that end in it with
their events and the summary, and commits. The bare one is BEGIN, COPY, COMMIT of the rows.

    .venv/bin/python -m benchmarks.bench_flush [--quick] [--peers]
"""

import itertools
import sys

from sqlalchemy import Engine

from benchmarks.books import epochs_within, fill, make_owner, make_rows
from benchmarks.measuring import Line, asked, conclude, in_pairs, middle, ratios_of
from benchmarks.peers import MOST_METRICS_A_BATCH, Mlflow, mlflow
from benchmarks.service import Service, service
from benchmarks.wire import Wire
from services.copying import copy_rows
from services.database import transaction
from services.pages import Page
from services.recording import flush

GOALS = {1_000: 0.65, 200: 0.5}
FLUSHES = 20
PAIRS = 25
PEER_WORKERS, PEER_GOAL = (1, 4), 60
GRAD_NORM_EVERY = 10


def measure(engine: Engine, rows_a_flush: int, pairs: int) -> list[Line]:
    mine, bare, control, newest = (make_owner(engine) for _ in range(4))
    # The index takes rows of the newest job faster than those of others: it is none of these.
    fill(engine, newest, rows_a_flush)
    firsts = {each: itertools.count(1, rows_a_flush) for each in ("flush", "bare", "control")}

    def flushes() -> None:
        for _ in range(FLUSHES):
            rows = make_rows(next(firsts["flush"]), rows_a_flush)
            page = Page(rows=rows, epochs=epochs_within(rows), summary={"train_loss": 0.5})
            with transaction(engine) as connection:
                flush(connection, mine, page)

    def copies(key: int, name: str) -> None:
        for _ in range(FLUSHES):
            rows = make_rows(next(firsts[name]), rows_a_flush)
            with transaction(engine) as connection:
                copy_rows(connection, key, rows)

    ones, others = in_pairs(flushes, lambda: copies(bare.job_key, "bare"), pairs)
    again = in_pairs(
        lambda: copies(bare.job_key, "bare"), lambda: copies(control.job_key, "control"), pairs // 2
    )
    ratio, same = ratios_of(others, ones), ratios_of(*again)
    rows = FLUSHES * rows_a_flush
    goal = GOALS[rows_a_flush]
    return [
        Line(f"bare COPY, {rows_a_flush:,} rows a commit", f"{rows / middle(others):,.0f} rows/s"),
        Line(f"flush, {rows_a_flush:,} rows", f"{rows / middle(ones):,.0f} rows/s"),
        Line(
            f"flush over bare COPY, {rows_a_flush:,} rows",
            str(ratio),
            f"at least {goal}",
            ratio.median >= goal,
        ),
        Line("control: bare COPY over bare COPY", str(same)),
    ]


def measure_peer(running: Service, pairs: int) -> list[Line]:
    """Log numbers to MLflow in its largest batches, in turn with flushes of as many rows.

    Of a row its loss, learning rate and seconds count as values, and its gradient norm where there
    is one: what the iteration and its place in the epoch say comes on top.
    """
    owner = make_owner(running.engine)
    firsts, steps = itertools.count(1, MOST_METRICS_A_BATCH), itertools.count(1)
    lines = []

    def flushes() -> None:
        for _ in range(FLUSHES):
            rows = make_rows(next(firsts), MOST_METRICS_A_BATCH)
            with transaction(running.engine) as connection:
                flush(connection, owner, Page(rows=rows, epochs=epochs_within(rows)))

    values = FLUSHES * (3 * MOST_METRICS_A_BATCH + MOST_METRICS_A_BATCH // GRAD_NORM_EVERY)
    for workers in PEER_WORKERS:
        with mlflow(running.stack.database_url, workers) as peer, Wire(peer.server.url) as wire:
            run = peer.new_run(wire)

            def batch(peer: Mlflow = peer, wire: Wire = wire, run: str = run) -> None:
                numbers = [("loss", 0.5, next(steps)) for _ in range(MOST_METRICS_A_BATCH)]
                wire.ask(peer.logs_batch(wire, run, numbers))

            ones, others = in_pairs(flushes, batch, pairs)
        a_value = [seconds / values for seconds in ones]
        ratio = ratios_of([seconds / MOST_METRICS_A_BATCH for seconds in others], a_value)
        what = f"mlflow, {workers} worker{'s' if workers > 1 else ''}"
        rate = MOST_METRICS_A_BATCH / middle(others)
        lines += [
            Line(f"{what}: log-batch of {MOST_METRICS_A_BATCH:,}", f"{rate:,.0f} values/s"),
            Line(
                f"{what}: its time a value over a flush's",
                str(ratio),
                f"at least {PEER_GOAL}",
                ratio.median >= PEER_GOAL,
            ),
        ]
    return lines


def main() -> int:
    run = asked(sys.argv)
    with service() as running:
        lines = [
            line
            for rows_a_flush in GOALS
            for line in measure(running.engine, rows_a_flush, 3 if run.quick else PAIRS)
        ]
        if run.peers:
            lines += measure_peer(running, 3 if run.quick else PAIRS)
    return conclude("Durable flush", lines, run)


if __name__ == "__main__":
    sys.exit(main())
