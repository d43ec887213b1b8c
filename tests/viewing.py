"""What viewers of a job make of its stream, and jobs that are worked on while they look."""

from uuid import UUID

import httpx
from sqlalchemy import Engine, text

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Outcome
from models.rows import Rows
from services.database import transaction
from services.hints import say
from services.pages import Page
from tests.streamed import Heard
from tests.submitted import Crew, submit
from tests.written import make_rows

STORED = {"state", "epoch", "checkpoint", "rewound", "warning", "edited"}

_EARS = text(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'gradbook api ear' AND query LIKE 'LISTEN%'"
)


def path_of(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/events"


def numbers(heard: list[Heard]) -> list[int]:
    """The numbers of the stored events, in the order in which they came."""
    return [each.data["id"] for each in heard if each.kind in STORED]


def drawn(heard: list[Heard], before: dict[int, float] | None = None) -> dict[int, float]:
    """The curve as a viewer has it in the end: each point once, less what was taken back."""
    curve = dict(before or {})
    for each in heard:
        data = each.data["data"]
        if each.kind == "rewound":
            curve = {
                iteration: loss for iteration, loss in curve.items() if iteration <= data["to"]
            }
        if each.kind == "points":
            assert data["from"] == max(curve, default=0) + 1, "neither a gap nor a repeat"
            curve |= dict(zip(data["iteration"], data["mean"], strict=True))
            assert max(curve) <= data["to"]
    return curve


def losses(first: int, last: int, scale: float = 1.0) -> dict[int, float]:
    return {iteration: scale / iteration for iteration in range(first, last + 1)}


def rows(first: int, last: int, scale: float = 1.0) -> Rows:
    """Rows `first` to `last`, with those losses."""
    return make_rows([scale / iteration for iteration in range(1, last + 1)])[first - 1 :]


def hint(engine: Engine, *jobs: str) -> None:
    """Tell that these jobs have changed, as who has changed them does."""
    with transaction(engine) as connection:
        say(connection, [UUID(job) for job in jobs])


def ears(engine: Engine) -> list[int]:
    """The sessions that listen for hints."""
    with transaction(engine) as connection:
        return list(connection.scalars(_EARS))


def begin(api: httpx.Client, crew: Crew, **spec: object) -> str:
    """Submit a job and claim it; returns its id."""
    job_id = str(submit(api, **spec)["id"])
    assert crew.claim() == job_id
    return job_id


def go_back(crew: Crew, job_id: str, to: int) -> None:
    """End the attempt, and let another one go on at that iteration."""
    crew.leave_off(job_id, Outcome.PREEMPTED)
    assert crew.claim() == job_id
    crew.flush(job_id, Page(resumed=Resumed(to, 0, like=True)))
