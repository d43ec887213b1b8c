"""A job's progress until it ends: a bar on a terminal, a line now and then in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)

from cli.answers import FINISHED, Job, Plan
from cli.errors import Refused, ServiceAway, ServiceRefused
from cli.screen import duration, number

if TYPE_CHECKING:
    from cli.client import Client

POLL_SECONDS = 0.25
LINE_EVERY_SECONDS = 5.0
# Longer than an API process takes to be started again.
AWAY_SECONDS = 30.0
SERVER_ERROR = 500
LEAST_BAR = 5
WIDEST_BAR = 40

Show = Callable[[Job], None]


class JobFailed(Refused):
    """The job that was waited for did not succeed."""

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(f"job {job['id']} {ending(job)}")


class JobLeft(Refused):
    """Somebody would not wait for the job any longer; it goes on."""

    exit_code = 130

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} goes on: `gradbook watch {job_id}` follows it again")


def watch_job(client: "Client", job: Job) -> Job:
    """`follow_job` for somebody who may press Ctrl-C.

    Raises:
        JobLeft: they did.

    """
    try:
        return follow_job(client, job)
    except KeyboardInterrupt:
        raise JobLeft(job["id"]) from None


def follow_job(client: "Client", job: Job, *, pause: Callable[[float], object] = time.sleep) -> Job:
    """Show the job's progress until it has ended, and return it as it then is.

    `pause` waits for so many seconds; what it raises ends the wait.

    An API that is away for less than AWAY_SECONDS, as while it starts again, is waited for.

    Raises:
        ServiceAway: nothing answered for AWAY_SECONDS.
        ServiceRefused: the service refused for another reason than a trouble of its own.

    """
    with _display(job) as show:
        show(job)
        while job["state"] not in FINISHED:
            pause(POLL_SECONDS)
            job = _ask_patiently(client, job["id"], pause)
            show(job)
    return job


def require_success(job: Job) -> None:
    """Raise `JobFailed` unless the job succeeded."""
    if job["state"] != "succeeded":
        raise JobFailed(job)


def ending(job: Job) -> str:
    """How a job ended, in one line, with what went wrong."""
    error = f": {job['error']['message']}" if job["error"] else ""
    return f"{_end(job)}{error}"


def _end(job: Job) -> str:
    reason = f" ({job['stop_reason']})" if job["stop_reason"] not in {None, job["state"]} else ""
    return f"{job['state']}{reason}"


def waiting_line(job: Job) -> str:
    """What a queued job waits for."""
    waiting = job["waiting_for"]
    text = waiting["detail"] or waiting["reason"] if waiting else "a worker takes it soon"
    place = job["queue_position"]
    return f"queued{'' if place is None else f', place {place}'}: {text}"


def _ask_patiently(client: "Client", job_id: str, pause: Callable[[float], object]) -> Job:
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return client.job(job_id)
        except ServiceAway:
            if time.monotonic() > deadline:
                raise
        except ServiceRefused as refused:
            if refused.status < SERVER_ERROR or time.monotonic() > deadline:
                raise
        pause(POLL_SECONDS)


@contextmanager
def _display(job: Job) -> Iterator[Show]:
    if sys.stderr.isatty():
        with _bar(Console(stderr=True), _text_width(job["plan"])) as bar:
            yield _bar_updates(bar)
    else:
        yield _lines()


def _bar(screen: Console, text_width: int) -> Progress:
    # The numbers come first: the bar has what they leave, and goes where that is nothing.
    room = screen.width - text_width
    columns: list[ProgressColumn] = [
        TextColumn("{task.fields[where]}"),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}", style="bold"),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[left]}"),
    ]
    if room >= LEAST_BAR:
        columns.insert(1, BarColumn(bar_width=min(room, WIDEST_BAR)))
    return Progress(*columns, console=screen)


def _text_width(plan: Plan) -> int:
    """How wide all that stands beside the bar becomes."""
    parts = (plan["epochs"], plan["batches_per_epoch"], plan["iterations_total"])
    epochs, batches, total = (of(100_000 if part is None else part, part) for part in parts)
    where = f"epoch {epochs} batch {batches}"
    return len(f"{where}  {total} loss 0.0001234 9999 it/s 59:59 left")


def _bar_updates(bar: Progress) -> Show:
    tasks: list[TaskID] = []

    def show(job: Job) -> None:
        fields: dict[str, Any] = {
            "where": where(job),
            "loss": number(_loss(job)),
            "speed": _speed(job),
            "left": _left(job),
        }
        progress = job["progress"]
        if not tasks:
            tasks.append(bar.add_task("", total=progress["iterations_total"], **fields))
        bar.update(tasks[0], completed=progress["iteration"], **fields)

    return show


def _lines() -> Show:
    """A line when the state changes, and one every few seconds."""
    shown_state: list[str] = []
    shown_at = [0.0]

    def show(job: Job) -> None:
        now = time.monotonic()
        if shown_state[-1:] == [job["state"]] and now - shown_at[0] < LINE_EVERY_SECONDS:
            return
        shown_state[:] = [job["state"]]
        shown_at[0] = now
        typer.echo(progress_line(job), err=True)

    return show


def progress_line(job: Job) -> str:
    """The bar's facts in one line of text."""
    progress = job["progress"]
    parts = [
        where(job),
        f"iteration {of(progress['iteration'], progress['iterations_total'])}",
        f"loss {number(_loss(job))}",
        _speed(job),
        _left(job),
    ]
    return "  ".join(part for part in parts if part)


def where(job: Job) -> str:
    """Where the job is: its epoch and batch, or what it waits for, or how it ended.

    What went wrong is left to whoever tells the end: it is told once.
    """
    if job["state"] == "queued":
        return waiting_line(job)
    if job["state"] != "running":
        return _end(job)
    progress, plan = job["progress"], job["plan"]
    if progress["iteration"] == 0:
        return f"running, {progress['phase'] or 'start'}"
    epoch = f"epoch {of(progress['epoch'], plan['epochs'])}"
    # An epoch that has begun has no batch yet.
    batch = of(progress["batch"], plan["batches_per_epoch"])
    return f"{epoch} batch {batch}" if progress["batch"] else epoch


def of(count: int, total: int | None) -> str:
    """`3/10`, or `3` of nobody knows how many."""
    return str(count) if total is None else f"{count}/{total}"


def _loss(job: Job) -> float | str | None:
    final = job["summary"]["final_loss"]
    return job["latest"]["loss"] if final is None and job["latest"] else final


def _speed(job: Job) -> str:
    speed = job["progress"]["iterations_per_second"]
    return "" if speed is None else f"{speed:.0f} it/s"


def _left(job: Job) -> str:
    left = job["progress"]["eta_seconds"]
    return "" if left is None or job["state"] != "running" else f"{duration(left)} left"
