"""Commands that read one job: `show`, `watch`, `logs`, `verify`."""

import time
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from cli.answers import FINISHED, Attempt, Job, LogLine
from cli.commands.jobs import Id, Json
from cli.connection import connect
from cli.job_ids import find_id
from cli.progress import (
    POLL_SECONDS,
    ending,
    progress_line,
    require_success,
    waiting_line,
    watch_job,
)
from cli.screen import (
    age,
    between,
    console,
    duration,
    number,
    show_facts,
    show_json,
    show_table,
)
from cli.verification import BookWrong, verify_book


def add_to(app: typer.Typer) -> None:
    for command in (show, watch, logs, verify):
        app.command()(command)


def show(job: Id, *, json: Json = False) -> None:
    """Show a job: where it is, what it waits for, its numbers and its attempts."""
    with connect() as client:
        answer = client.job(find_id(client, job))
    if json:
        show_json(answer)
        return
    show_facts(_facts(answer))
    if answer["attempts"]:
        typer.echo("")
        columns = ("attempt", "worker", "device", "outcome", "iterations", "started", "took")
        rows = map(_attempt_row, answer["attempts"])
        show_table(columns, rows, cropped="device", spare=("worker", "started"))
    for attempt in answer["attempts"]:
        if attempt["error"] is not None:
            typer.echo(f"attempt {attempt['number']}: {attempt['error']['message']}")


def watch(job: Id) -> None:
    """Follow a job until it ends; the exit code is 0 only where it succeeds."""
    with connect() as client:
        answer = watch_job(client, client.job(find_id(client, job)))
    require_success(answer)


def logs(
    job: Id,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends.")
    ] = False,
) -> None:
    """Print what a job's trainer wrote to its standard output and error."""
    with connect() as client:
        job_id, shown, cursor = find_id(client, job), 0, None
        while True:
            # The state is asked for before the lines: whatever an ended job wrote is there.
            ended = not follow or client.job(job_id)["state"] in FINISHED
            page = client.log_page(job_id, cursor)
            _print_lines(line for line in page["items"] if line["line"] > shown)
            shown = page["items"][-1]["line"] if page["items"] else shown
            if page["next_cursor"] is not None:
                cursor = page["next_cursor"]
            elif ended:
                return
            else:
                # The last page has no cursor: it is read again for the lines that join it.
                time.sleep(POLL_SECONDS)


def verify(job: Id) -> None:
    """Recompute a finished job's hashes from its rows and weights; 0 where the book is right."""
    wrong = 0
    with connect() as client:
        job_id = find_id(client, job)
        for check in verify_book(client, client.job(job_id)):
            wrong += not check.right
            console().print("ok   " if check.right else "WRONG", check.text, markup=False)
    if wrong:
        raise BookWrong(f"the book of job {job_id} does not hold what it says")


def _print_lines(lines: Iterable[LogLine]) -> None:
    for line in lines:
        typer.echo(line["text"], err=line["stream"] == "stderr")


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    yield "job", job["id"]
    yield "name", job["name"]
    yield "project", job["project"]
    yield "state", _state(job)
    yield "wanted", job["wanted"] or ""
    yield "network", _network(job)
    yield "plan", f"{job['plan']['formula']} iterations"
    if job["progress"]["iteration"] or job["state"] == "running":
        yield "progress", progress_line(job)
    summary = job["summary"]
    for name in ("train", "val", "test"):
        loss, accuracy = summary[f"{name}_loss"], summary[f"{name}_accuracy"]  # type: ignore[literal-required]
        if loss is not None:
            yield name, f"loss {number(loss)}, accuracy {number(accuracy)}"
    best = summary["best"]
    if best:
        yield "best", f"{best['metric']} {number(best['value'])} in epoch {best['epoch']}"
    yield from _book_facts(job)
    yield "tags", " ".join(f"{key}:{value}" for key, value in job["tags"].items())
    yield "notes", job["notes"]
    yield "created", _moment(job["created_at"])
    yield "started", _moment(job["started_at"])
    yield "finished", _moment(job["finished_at"])
    if job["started_at"]:
        yield "took", duration(between(job["started_at"], job["finished_at"]))


def _moment(moment: str | None) -> str:
    return f"{age(moment)}, {moment[:19].replace('T', ' ')} UTC" if moment else ""


def _book_facts(job: Job) -> Iterator[tuple[str, str]]:
    book = job["book"]
    complete = "complete" if book["complete"] else "NOT complete"
    rows = f"{book['rows']:,} of {book['expected']:,} rows, {complete}"
    yield "book", rows if book["rows"] or book["expected"] else "no rows"
    yield "loss sha256", book["loss_sha256"] or ""
    yield "weights sha256", book["weights_sha256"] or ""
    yield "reproducible", "yes" if job["reproducible"] else "no"


def _state(job: Job) -> str:
    if job["state"] == "queued":
        return waiting_line(job)
    return ending(job)


def _network(job: Job) -> str:
    network = job["spec"].get("network") or {}
    name = network.get("name") or f"{len(network.get('layers') or ())} layers"
    count = f", {job['plan']['network']['parameters']:,} parameters"
    return f"{name} on {job['spec'].get('dataset', {}).get('name', '?')}{count}"


def _attempt_row(attempt: Attempt) -> tuple[str, ...]:
    first, last = attempt["first_iteration"], attempt["last_iteration"]
    return (
        str(attempt["number"]),
        attempt["worker"] or "-",
        attempt["device_name"] or attempt["device"] or "-",
        attempt["outcome"] or "running",
        # One that ended before its first row ends at the iteration before it.
        "-" if first is None or last is None or last < first else f"{first} to {last}",
        age(attempt["started_at"]),
        duration(between(attempt["started_at"], attempt["ended_at"])),
    )
