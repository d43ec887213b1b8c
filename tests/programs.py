"""Programs for tests: called in this process, with a sink that remembers what they told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.domain.checkpoints import Kept
from models.domain.lifecycle import Wish
from models.domain.spec import parse_job, resolve
from tests.trainings import Book, Wants
from worker.program.runner import run_program
from worker.training.sink import Ended, TrainRequest

PACKAGES = ("team_vision", "team_odd")

WishOf = Callable[[Book], Wish | None]


def program_spec(entrypoint: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a spec
    """A resolved spec; `options` are the program's."""
    options = more.pop("options", {})
    raw = {"program": {"entrypoint": entrypoint, "options": options}, **more}
    return resolve(parse_job(raw))


def call(
    spec: dict[str, Any],
    folder: Path,
    *,
    book: Book | None = None,
    wish: WishOf = lambda _book: None,
    **more: Any,  # noqa: ANN401 - fields of TrainRequest
) -> tuple[Ended, Book]:
    """Call a program; what it told is in the book, also where it raised."""
    book = Book() if book is None else book
    request = TrainRequest(
        job_id="job",
        spec=spec,
        plan={},
        artifacts_url=str(folder / "job"),
        datasets_folder=str(folder / "datasets"),
        packages=PACKAGES,
        **{"attempt": 1, "device": "cpu", **more},
    )
    return run_program(request, book, Wants(book, wish)), book


def kept_in(book: Book) -> tuple[Kept, ...]:
    """The checkpoints that it told of, newest first."""
    told = [Kept(each["iteration"], each["uri"], each["sha256"]) for each in book.all("checkpoint")]
    return tuple(reversed(told))
