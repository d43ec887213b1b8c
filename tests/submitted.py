"""Jobs for tests: submitted over HTTP, and worked on as a worker does, without its processes."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import Engine

from models.domain.lifecycle import Outcome, StopReason
from models.domain.offers import Offers
from models.rows import Rows
from services.claims import Claim, Slot, claim
from services.database import transaction
from services.endings import Ending, end_attempt
from services.fleet import Worker, heartbeat
from services.pages import Page
from services.recording import Answer, Owner, flush

Json = dict[str, Any]


def spec_of(**changes: object) -> Json:
    """A small spec that is in order: 23 iterations an epoch."""
    return {
        "dataset": {"name": "digits"},
        "network": {"name": "linear"},
        "epochs": 2,
        **changes,
    }


def submit(api: httpx.Client, **changes: object) -> Json:
    answer = api.post("/v1/jobs", json=spec_of(**changes))
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


def get(api: httpx.Client, job_id: str, **parameters: Any) -> Json:  # noqa: ANN401 - a query
    answer = api.get(f"/v1/jobs/{job_id}", params=parameters)
    assert answer.status_code == httpx.codes.OK, answer.text
    return dict(answer.json())


def events_of(api: httpx.Client, job_id: str) -> list[Json]:
    return list(api.get(f"/v1/jobs/{job_id}/events").json()["items"])


@dataclass
class Crew:
    """A worker's part in the book: it registers, claims, flushes and ends attempts."""

    engine: Engine
    name: str = "crew"
    device: str = "cpu"
    queue: str = "default"
    lease_seconds: float = 60.0
    offers: Offers = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)

    def register(self) -> None:
        with transaction(self.engine) as connection:
            mine = Worker(self.name, "here", 1, [self.device], [self.queue], self.offers)
            heartbeat(connection, mine)

    def claim(self) -> str | None:
        """Take the best job; its id, or None where there is none."""
        slot = Slot(self.name, "here", 0, self.device, frozenset(self.offers))
        with transaction(self.engine) as connection:
            taken = claim(connection, self.queue, slot, self.lease_seconds)
        if taken is None:
            return None
        self.claims[str(taken.job_id)] = taken
        return str(taken.job_id)

    def flush(self, job_id: str, page: Page | None = None, rows: Rows | None = None) -> Answer:
        with transaction(self.engine) as connection:
            return flush(connection, self.owner(job_id), page or Page(rows=rows))

    def end(
        self,
        job_id: str,
        outcome: Outcome = Outcome.SUCCEEDED,
        stop_reason: StopReason = StopReason.EPOCHS,
        error: Json | None = None,
    ) -> None:
        ending = Ending(outcome, stop_reason, error=error)
        with transaction(self.engine) as connection:
            end_attempt(connection, self.owner(job_id), Page(), ending)

    def leave_off(self, job_id: str, outcome: Outcome) -> None:
        """End the attempt, and not the job."""
        with transaction(self.engine) as connection:
            end_attempt(connection, self.owner(job_id), Page(), Ending(outcome, None))

    def owner(self, job_id: str) -> Owner:
        taken = self.claims[job_id]
        return Owner(taken.job_key, taken.attempt, self.lease_seconds)
