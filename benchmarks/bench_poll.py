"""Polling a job's status, against the least that a FastAPI route with a database can do.

The other route reads three columns by a primary key, under the same uvicorn with the same
settings. Ours answers with the whole job, as it stands at one moment.

    .venv/bin/python -m benchmarks.bench_poll [--quick]
"""

import sys
from contextlib import AbstractContextManager, ExitStack

from benchmarks.books import free_port, id_of, make_owner, make_rows
from benchmarks.measuring import Line, asked, conclude, ratios_of
from benchmarks.processes import CLIENTS, PROCESSES, gets, load_line
from benchmarks.service import Server, Service, service, serving
from benchmarks.wire import Load
from models.domain.lifecycle import Phase
from services.database import transaction
from services.pages import Page
from services.recording import flush

ROUNDS, QUICK_ROUNDS = 15, 3
POLLS_A_CLIENT, QUICK_POLLS_A_CLIENT = 250, 30
GOAL = 0.5


def measure(rounds: int, polls_a_client: int) -> list[Line]:
    ours: list[Load] = []
    bare: list[Load] = []
    again: list[Load] = []
    two: list[Load] = []
    with ExitStack() as stack:
        running = stack.enter_context(service())
        job_path, bare_path = _running_job(running)
        apis = stack.enter_context(running.apis(PROCESSES))
        other = stack.enter_context(_bare(running))
        for _ in range(rounds):
            bare.append(gets(other, bare_path, polls_a_client))
            ours.append(gets(apis[1], job_path, polls_a_client))
            again.append(gets(other, bare_path, polls_a_client))
            two.append(gets(apis[2], job_path, polls_a_client))
    ratio = ratios_of([load.rate for load in ours], [load.rate for load in bare])
    same = ratios_of([load.rate for load in again], [load.rate for load in bare])
    return [
        load_line(f"bare route, {CLIENTS} clients", bare),
        load_line(f"GET /v1/jobs/{{id}}, {CLIENTS} clients", ours),
        load_line("the same, 2 API processes", two),
        Line(
            "status poll over the bare route",
            str(ratio),
            f"at least {GOAL}",
            ratio.median >= GOAL,
        ),
        Line("control: bare route over bare route", str(same)),
    ]


def _running_job(running: Service) -> tuple[str, str]:
    """Let a job run that has rows; returns its paths, ours and the bare one's."""
    owner = make_owner(running.engine)
    with transaction(running.engine) as connection:
        page = Page(rows=make_rows(1, 1_000), epoch=6, batch=20, phase=Phase.TRAIN)
        flush(connection, owner, page)
    return f"/v1/jobs/{id_of(running.engine, owner)}", f"/jobs/{owner.job_key}"


def _bare(running: Service) -> AbstractContextManager[Server]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_route", str(port)]
    return serving(command, port, running.home / "bare.log", running.environment())


def main() -> int:
    run = asked(sys.argv)
    rounds = QUICK_ROUNDS if run.quick else ROUNDS
    polls = QUICK_POLLS_A_CLIENT if run.quick else POLLS_A_CLIENT
    return conclude("Status poll", measure(rounds, polls), run)


if __name__ == "__main__":
    sys.exit(main())
