"""`gradbook demo`: the whole house from nothing, one real training job, and its numbers."""

import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from rich.console import Console

from cli.answers import Job
from cli.client import Client
from cli.errors import Refused
from cli.first_row import FirstRow
from cli.progress import follow_job, require_success
from cli.screen import console, duration, fact_line, number, shown_path
from cli.specs import read_spec
from cli.stack.binaries import postgres_programs
from cli.stack.errors import HomeTaken, PortTaken, StopAsked
from cli.stack.folder import is_free
from cli.stack.home import Home
from cli.stack.stack import Stack
from cli.stack.up import stop_on_signals
from foundation.settings import Settings

SPEC = Path(__file__).parent.parent / "examples" / "digits.json"
LEAST_TEST_ACCURACY = 0.97
HOST = "127.0.0.1"
DEFAULT_PORT = 8000
INTERRUPTED = 130

_COUNT_ROWS = "SELECT count(*) FROM v_iterations WHERE job = %s"


class DemoWrong(Refused):
    """The demo ran to its end, and a number of it is not what it must be."""


class DemoRefused(Refused):
    """The demo cannot start; the text names the cure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo measured.

    Args:
        job: as the API shows it at the end.
        rows_by_sql: the job's rows that the view `v_iterations` holds.
        rows_by_rest: the job's rows that `GET /v1/jobs/{id}/iterations` gave.
        first_row_seconds: from before the POST until the first row was read over REST; None where
            the job was over before it was seen.

    """

    job: Job
    rows_by_sql: int
    rows_by_rest: int
    first_row_seconds: float | None

    def faults(self) -> list[str]:
        """What is not as it must be, in words; empty where all is right."""
        planned = self.job["plan"]["iterations_total"]
        accuracy = self.job["summary"]["test_accuracy"]
        found = []
        if not isinstance(accuracy, float | int) or accuracy < LEAST_TEST_ACCURACY:
            found.append(f"test accuracy {number(accuracy)} is below {LEAST_TEST_ACCURACY}")
        for source, rows in (("SQL", self.rows_by_sql), ("REST", self.rows_by_rest)):
            if rows != planned:
                found.append(f"{rows:,} rows by {source}, {planned:,} planned")
        return found


def run_demo(home: Path, port: int, settings: Settings) -> int:
    """Start everything, train, show the numbers, stop everything; call it from the main thread.

    Returns:
        0: all was right. 130: it was interrupted; what it had started is stopped.

    Raises:
        StackError: something cannot be started; tells cause and cure.
        JobFailed: the job did not succeed.
        DemoWrong: the accuracy is too low, or rows are missing.

    """
    screen = console()
    screen.print(
        f"Gradbook trains a network on handwritten digits. Data folder: {shown_path(home)}\n"
    )
    try:
        with stop_on_signals() as stopping:
            stack = Stack(
                home,
                host=HOST,
                port=port,
                slots=1,
                settings=settings,
                stopping=stopping,
                on_step=lambda name, seconds: _fact(screen, name, duration(seconds)),
            )
            outcome = _run(stack, screen)
    except StopAsked:
        screen.print("Interrupted; everything that was started is stopped.")
        return INTERRUPTED
    except PortTaken as taken:
        other = next(candidate for candidate in range(port + 1, 65536) if is_free(candidate))
        raise DemoRefused(
            f"Port {taken.port} is taken by another process. Stop that one, or run "
            f"`{_command('demo', home, other, settings)}`{_make('demo', home, other, settings)}."
        ) from None
    except HomeTaken as taken:
        raise DemoRefused(
            f"{taken} Or let what serves it train the demo's job: "
            f"`{_gradbook()} submit {shlex.quote(shown_path(SPEC))} --watch`."
        ) from None
    if faults := outcome.faults():
        raise DemoWrong("; ".join(faults))
    screen.print("\nWhile the command below runs, these show the same:")
    for hint in _hints(stack, home, outcome.job):
        screen.print(f"  {hint}", markup=False)
    job_url = f"http://{HOST}:{port}/v1/jobs/{outcome.job['id']}"
    screen.print(f"\n{_up_command(home, port, settings)}   # then {job_url}", markup=False)
    return 0


def _run(stack: Stack, screen: Console) -> Outcome:
    began = time.monotonic()
    try:
        with stack:
            with screen.status("starting"):
                _start(stack)
            with Client(stack.url) as client:
                outcome = _train(client, stack, screen)
            _show(outcome, screen)
            began = time.monotonic()
    finally:
        stopped_in = time.monotonic() - began
    _fact(screen, "stopped in", duration(stopped_in))
    return outcome


def _start(stack: Stack) -> None:
    stack.start_servers()
    stack.migrate()
    # The worker loads torch while the API comes up.
    stack.start_worker()
    stack.start_api()
    stack.wait_for_worker()


def _train(client: Client, stack: Stack, screen: Console) -> Outcome:
    def pause(seconds: float) -> None:
        if stack.stopping.wait(seconds):
            raise StopAsked

    spec = read_spec(str(SPEC))
    began = time.monotonic()
    job = client.submit(spec)
    with FirstRow(stack.url, job["id"], began) as first_row:
        _fact(screen, "job", job["id"])
        _fact(screen, "iterations", job["plan"]["formula"])
        job = follow_job(client, job, pause=pause)
    require_success(job)
    return Outcome(
        job=job,
        rows_by_sql=_rows_by_sql(stack.database_url, job["id"]),
        rows_by_rest=_rows_by_rest(client, job["id"]),
        first_row_seconds=first_row.seconds,
    )


def _rows_by_sql(database_url: str, job_id: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(_COUNT_ROWS, [job_id]).fetchone()
    return 0 if row is None else int(row[0])


def _rows_by_rest(client: Client, job_id: str) -> int:
    return sum(len(page["columns"]["iteration"]) for page in client.iterations(job_id, "loss"))


def _show(outcome: Outcome, screen: Console) -> None:
    summary, planned = outcome.job["summary"], outcome.job["plan"]["iterations_total"]
    rows = (
        f"{outcome.rows_by_sql:,} by SQL, {outcome.rows_by_rest:,} over REST; planned {planned:,}"
    )
    _fact(screen, "final loss", number(summary["final_loss"]))
    _fact(screen, "test accuracy", number(summary["test_accuracy"]))
    _fact(screen, "iteration rows", rows)
    if outcome.first_row_seconds is not None:
        _fact(screen, "first row", f"{outcome.first_row_seconds:.2f} s after the POST")


def _fact(screen: Console, name: str, value: str) -> None:
    screen.print(fact_line(name, value), markup=False)


def _hints(stack: Stack, home: Path, job: Job) -> list[str]:
    """Lines to paste into a shell; no password is shown."""
    address = f"{stack.url}/v1/jobs/{job['id']}"
    query = _COUNT_ROWS.replace("%s", f"'{job['id']}'")
    return [
        f"curl -s '{address}/iterations?limit=3'",
        f"curl -s '{address}/epochs'",
        f'{_psql(stack, home)} -c "{query}"',
    ]


def _psql(stack: Stack, home: Path) -> str:
    if stack.postgres is None:
        return 'psql "$GRADBOOK_DATABASE_URL"'
    at = urlsplit(stack.postgres.url)
    program = shutil.which("psql")
    shown = "psql" if program else shlex.quote(shown_path(postgres_programs(18) / "psql"))
    password = shlex.quote(shown_path(Home(home).postgres / "password"))
    return (
        f'PGPASSWORD="$(cat {password})" {shown} '
        f"-h {at.hostname} -p {at.port} -U {at.username} {at.path.lstrip('/')}"
    )


def _up_command(home: Path, port: int, settings: Settings) -> str:
    """What serves this home on this port again."""
    command = _command("up", home, port, settings)
    return "make up" if command == f"{_gradbook()} up" else command


def _make(name: str, home: Path, port: int, settings: Settings) -> str:
    """The same by `make`, where that can say it."""
    if home.absolute() != settings.home.absolute():
        return ""
    return f" (`make {name} PORT={port}`)"


def _command(name: str, home: Path, port: int, settings: Settings) -> str:
    options = []
    if home.absolute() != settings.home.absolute():
        options += ["--home", shlex.quote(str(home))]
    if port != DEFAULT_PORT:
        options += ["--port", str(port)]
    return " ".join([_gradbook(), name, *options])


def _gradbook() -> str:
    """How the command is called from here."""
    if shutil.which("gradbook"):
        return "gradbook"
    return shlex.quote(shown_path(Path(sys.executable).with_name("gradbook")))
