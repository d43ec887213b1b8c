"""A reader that polls all the while, as a client does, and remembers what it was told."""

import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from models.domain.lifecycle import FINISHED
from tests.chaos.invariants import Violation

Json = dict[str, Any]

POLL_SECONDS = 0.3
TIMEOUT_SECONDS = 5.0
EVENTS = 1_000


@dataclass
class Known:
    """What a reader was told of a job last."""

    iteration: int = 0
    events: list[Json] = field(default_factory=list)
    ended_as: Json | None = None


class Watcher:
    """Polls jobs over HTTP, through every restart; what it finds stands in `violations`.

    Args:
        url: the API's.

    """

    def __init__(self, url: str) -> None:
        self.violations: list[Violation] = []
        self.looks = 0
        """How often it has gone round all jobs."""
        self.answers = 0
        self.silences = 0
        self.steps_back = 0
        self._http = httpx.Client(base_url=f"{url}/v1/jobs", timeout=TIMEOUT_SECONDS)
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join()
        self._http.close()

    def watch(self, job_id: str) -> None:
        with self._lock:
            self._known[job_id] = Known()

    def expect_change(self, job_id: str) -> None:
        """A job that has ended is about to be taken up again."""
        with self._lock:
            self._known[job_id] = Known()

    def _run(self) -> None:
        while not self._leaving.wait(POLL_SECONDS):
            with self._lock:
                known = dict(self._known)
            ended = [job_id for job_id, what in known.items() if what.ended_as is not None]
            for job_id, what in known.items():
                # Of the many that have ended, to stay as they are, one after the other.
                if what.ended_as is None or job_id == ended[self.looks % len(ended)]:
                    self._look(job_id, what)
            self.looks += 1

    def _look(self, job_id: str, known: Known) -> None:
        # Events first: what they don't tell yet must be told by those that are read later.
        told = self._get(f"/{job_id}/events")
        job = self._get(f"/{job_id}")
        if told is None or job is None:
            return
        for text in self._broken(job_id, job, known):
            with self._lock:
                # It may have been said meanwhile that this job is to change.
                if self._known[job_id] is known:
                    self.violations.append(Violation(f"{job['name']} {job_id}, as read", text))
        known.iteration = job["progress"]["iteration"]
        known.events = told["items"]
        if job["state"] in FINISHED:
            known.ended_as = job

    def _broken(self, job_id: str, job: Json, known: Known) -> list[str]:
        book, k = job["book"], job["progress"]["iteration"]
        found = []
        if not (book["rows"] == book["expected"] == k and book["complete"]):
            found.append(f"iteration {k}, and the book is {book}")
        if known.ended_as is not None and job != known.ended_as:
            changed = {name: job[name] for name in job if job[name] != known.ended_as.get(name)}
            found.append(f"it had ended, and has changed: {changed}")
        if k < known.iteration:
            found += self._unexplained(job_id, k, known)
        return found

    def _unexplained(self, job_id: str, k: int, known: Known) -> list[str]:
        """Nothing, where an event that was new since the last look tells of the step back."""
        self.steps_back += 1
        told = self._get(f"/{job_id}/events")
        if told is None:
            # The API went away in between: the next look compares with the same memory.
            known.iteration = k
            return []
        before, now = known.events, told["items"]
        if now[: len(before)] != before:
            return [f"events that were read before have changed: {before} to {now}"]
        rewinds = [event["data"] for event in now[len(before) :] if event["type"] == "rewound"]
        if any(data["from"] >= known.iteration and data["to"] <= k for data in rewinds):
            return []
        return [f"it went from {known.iteration} back to {k}; told is {rewinds}"]

    def _get(self, path: str) -> Json | None:
        try:
            answer = self._http.get(path, params={"limit": EVENTS} if "events" in path else None)
        except httpx.TransportError:
            self.silences += 1
            return None
        if answer.status_code != httpx.codes.OK:
            self.silences += 1
            return None
        self.answers += 1
        return dict(answer.json())
