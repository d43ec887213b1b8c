"""The `gradbook` command: `gradbook --help` lists what it can do.

It talks HTTP to the service; only the roles (`up`, `migrate`, `api`, `worker`) and `demo`
start anything. Nothing heavy is imported here: help must come at once.
"""

import sys
from typing import Annotated

import typer

from cli.commands import exporting, jobs, reading, roles
from cli.errors import Refused

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for kind in (roles, jobs, reading, exporting):
    kind.add_to(app)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

        typer.echo(f"gradbook {version('gradbook')}")
        raise typer.Exit


@app.callback()
def gradbook(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train networks, with every iteration in the book."""


def run() -> None:
    """Console entry: exit code 0 only where the command, and the job it waited for, succeeded."""
    try:
        app()
    except Refused as refused:
        typer.echo(f"gradbook: {refused}", err=True)
        sys.exit(refused.exit_code)


if __name__ == "__main__":
    run()
