"""Commands that make, change and list jobs: `plan`, `submit`, `ls`, `cancel`, `stop` and more."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.answers import Job, Plan
from cli.connection import connect
from cli.errors import SpecUnreadable
from cli.job_ids import find_id, short_ids
from cli.progress import of, require_success, watch_job
from cli.screen import (
    age,
    between,
    counted,
    duration,
    number,
    show_facts,
    show_json,
    show_table,
)
from cli.specs import read_spec, set_value, text_explained

if TYPE_CHECKING:
    from cli.client import Client

Id = Annotated[
    str,
    typer.Argument(metavar="JOB", help="A job's id, its beginning, or `last`.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the API's answer.")]
Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[SPEC]", help="A JSON or YAML file, or - for standard input.", show_default=False
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="JOB", help="Begin with this job's spec instead of a file."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Set a field: optimizer.lr=0.01. Repeats."),
]


def add_to(app: typer.Typer) -> None:
    for command in (plan, submit, ls, cancel, stop, pause, resume, retry, archive):
        app.command()(command)


def plan(spec: Source = None, from_: From = None, set_: Set = None, *, json: Json = False) -> None:
    """Show a spec's arithmetic and its network; nothing is queued."""
    with connect() as client, text_explained(set_):
        answer = client.plan(_gather(client, spec, from_, set_))
    if json:
        show_json(answer)
    else:
        _show_plan(answer)


def submit(
    spec: Source = None,
    from_: From = None,
    set_: Set = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Wait for its end.")] = False,
    json: Json = False,
) -> None:
    """Queue a job; prints its id. With --watch the exit code is 0 only where it succeeds."""
    with connect() as client:
        with text_explained(set_):
            job = client.submit(_gather(client, spec, from_, set_))
        if json and not watch:
            show_json(job)
        elif not json:
            typer.echo(job["id"])
        if not watch:
            return
        job = watch_job(client, job)
    if json:
        show_json(job)
    require_success(job)


def ls(
    project: Annotated[str | None, typer.Option(help="Only this project's jobs.")] = None,
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="KEY:VALUE", help="Only with this tag.")
    ] = None,
    *,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="TEXT", help='Only such: "summary.best_loss < 0.5" (docs/api.md).'
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option(metavar="FIELDS", help="summary.best_loss,-created_at; - for downwards."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many.", min=1)] = 20,
    json: Json = False,
) -> None:
    """List jobs, newest first unless `--order-by` says otherwise."""
    wanted = {"project": project, "state": state, "tag": tag, "filter": filter_}
    with connect() as client:
        jobs = list(client.jobs(limit=limit, order_by=order_by, **wanted))
    if json:
        show_json(jobs)
        return
    columns = ("id", "name", "state", "iteration", "loss", "test acc", "took", "created")
    ids = [job["id"] for job in jobs]
    # A pipe gets what no other job will ever begin with.
    shown = short_ids(ids) if sys.stdout.isatty() else ids
    rows = ((job_id, *_row(job)) for job_id, job in zip(shown, jobs, strict=True))
    show_table(columns, rows, cropped="name", spare=("created", "took"))


def cancel(job: Id) -> None:
    """End a job at once; what it has booked stays."""
    _ask(job, "cancel")


def stop(job: Id) -> None:
    """End a job after its current iteration; it is evaluated, saved, and counts as succeeded."""
    _ask(job, "stop")


def pause(job: Id) -> None:
    """Put a job aside: it saves after its current iteration, and waits for `resume`."""
    _ask(job, "pause")


def resume(job: Id) -> None:
    """Queue a paused job again: it goes on where it was."""
    _ask(job, "resume")


def retry(job: Id) -> None:
    """Queue a failed or cancelled job again: it goes on from its last good checkpoint."""
    _ask(job, "retry")


def archive(job: Id) -> None:
    """Have a finished job's rows go to a file, from which they are read as before."""
    _ask(job, "archive")


def _ask(job_id: str, action: str) -> None:
    with connect() as client:
        job = client.ask(find_id(client, job_id), action)
    wanted = f", {job['wanted']} is on its way" if job["wanted"] else ""
    typer.echo(f"{job['id']} {job['state']}{wanted}")


def _gather(
    client: "Client", source: str | None, from_: str | None, assignments: list[str] | None
) -> dict[str, Any]:
    if (source is None) == (from_ is None):
        raise SpecUnreadable("SPEC", "name a file, or - for standard input, or --from JOB")
    if from_ is not None:
        # The new job says where it comes from; the numbers do not depend on it.
        parent = client.job(find_id(client, from_))
        spec = parent["spec"] | {"parent": parent["id"]}
    else:
        spec = read_spec(source or "-")
    for assignment in assignments or ():
        set_value(spec, assignment)
    return spec


def _row(job: Job) -> tuple[str, ...]:
    progress, summary = job["progress"], job["summary"]
    loss = summary["final_loss"]
    if loss is None and job["latest"]:
        loss = job["latest"]["loss"]
    return (
        job["name"],
        job["state"],
        of(progress["iteration"], progress["iterations_total"]),
        number(loss),
        number(summary["test_accuracy"]),
        duration(between(job["started_at"], job["finished_at"])),
        age(job["created_at"]),
    )


def _show_plan(answer: Plan) -> None:
    if answer["batches_per_epoch"] is None:
        total = answer["iterations_total"]
        said = "as many as it makes" if total is None else f"{total:,}, as its spec says"
        show_facts([("iterations", said), ("same as", " ".join(answer["same_as"]))])
        return
    show_facts(_plan_facts(answer))
    typer.echo("")
    show_table(
        ("layer", "output shape", "parameters"),
        (
            (layer["name"], " x ".join(map(str, layer["output_shape"])), f"{layer['parameters']:,}")
            for layer in answer["network"]["layers"]
        ),
    )
    for warning in answer["warnings"]:
        place = ".".join(map(str, warning["loc"]))
        typer.echo(f"warning: {place}: {warning['msg']}", err=True)


def _plan_facts(answer: Plan) -> Iterator[tuple[str, str]]:
    yield "samples", f"{answer['train_samples']:,}"
    yield "validation", f"{answer['validation_samples']:,}" if answer["validation_samples"] else ""
    yield "test", f"{answer['test_samples']:,} in {counted(answer['test_batches'], 'batch')}"
    yield "batch size", f"{answer['batch_size']:,} ({answer['gradient_descent']})"
    yield "last batch", counted(answer["last_batch_size"], "sample")
    yield "an epoch", counted(answer["batches_per_epoch"] or 0, "batch")
    yield "iterations", answer["formula"]
    parameters = answer["network"]["parameters"]
    yield "parameters", "not known before it runs" if parameters is None else f"{parameters:,}"
    yield "same as", " ".join(answer["same_as"])
