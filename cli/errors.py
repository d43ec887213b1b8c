"""What can go wrong between a terminal and the service.

    Refused                 the command cannot be done; its text is all that is shown
    ├── ServiceAway         nothing answers at the address
    │   └── AnswerLost      the connection broke before the answer came
    ├── SubmitUnclear       a job was sent, and whether it is queued is not known
    ├── AddressInvalid      what should be the service's address is no URL
    ├── ServiceRefused      the service answered with a problem
    │   └── ServiceStrange  what answered is no Gradbook, or something before it
    ├── JobUnclear          what should name a job names none, or more than one
    ├── SpecUnreadable      the spec's file, or a `--set`, is no spec
    ├── ExportFailed        an export broke off, or its file cannot be written
    ├── SettingsInvalid     a GRADBOOK_… variable cannot be what it is
    ├── DatabaseAway        the database does not answer, or is not configured
    ├── WorkerUnfit         the worker cannot train here
    ├── JobFailed           the job that was waited for did not succeed (cli/progress.py)
    ├── JobLeft             somebody would not wait for the job any longer (cli/progress.py)
    └── BookWrong           the book does not hold what it says (cli/verification.py)

`cli.main.run` prints each of them to standard error and exits with its `exit_code`; none of
them ends in a traceback.
"""

from collections.abc import Mapping, Sequence
from typing import Any

HTTP_NOT_IMPLEMENTED = 501


class Refused(Exception):
    """The command cannot be done; `str` of it is what the user reads."""

    exit_code = 1


class ServiceAway(Refused):
    def __init__(self, url: str, reason: str = "") -> None:
        self.url, self.reason = url, reason
        because = f" ({reason})" if reason else ""
        super().__init__(
            f"nothing answers at {url}{because}: is `gradbook up` running? "
            "GRADBOOK_URL names another address"
        )


class AnswerLost(ServiceAway):
    """The connection broke before the answer came: what was asked for may have been done."""


class SubmitUnclear(Refused):
    """A job was sent, and no answer came: it may be queued, and it may not be."""

    def __init__(self, lost: ServiceAway) -> None:
        super().__init__(
            f"{lost}\nThe spec was sent, and its answer was lost: `gradbook ls` shows whether "
            "the job is queued"
        )


class AddressInvalid(Refused):
    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(
            f"GRADBOOK_URL: {url!r} is no address of a service; http://127.0.0.1:8000 is one"
        )


class ServiceRefused(Refused):
    """The service answered with a problem.

    Args:
        status: the HTTP status.
        problem: the problem+json that came with it, or what could be made of the body.

    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, problem
        super().__init__(self._text())

    @property
    def errors(self) -> Sequence[Mapping[str, Any]]:
        """Each broken rule: `loc`, its place, and `msg`."""
        return self.problem.get("errors") or ()

    def _text(self) -> str:
        title = str(self.problem.get("title") or f"HTTP {self.status}")
        detail = str(self.problem.get("detail") or "")
        if self.status == HTTP_NOT_IMPLEMENTED:
            title = "this release cannot do that yet"
        places = [_place(error) for error in self.errors]
        # The places say all that the detail sums up.
        head = title if places or not detail or detail == title else f"{title}: {detail}"
        return "\n".join([head, *places])


def _place(error: Mapping[str, Any]) -> str:
    loc = ".".join(str(part) for part in error.get("loc") or ())
    return f"  {loc}: {error.get('msg')}" if loc else f"  {error.get('msg')}"


class ServiceStrange(ServiceRefused):
    """The answer is none of Gradbook's: another server's, or one of a proxy before it."""

    def __init__(self, url: str, status: int) -> None:
        self.url = url
        super().__init__(status, {})

    def _text(self) -> str:
        return (
            f"{self.url} answers HTTP {self.status}, and not as Gradbook does: is this Gradbook? "
            "GRADBOOK_URL names another address"
        )


class JobUnclear(Refused):
    """What should name a job names none, or more than one."""


class SpecUnreadable(Refused):
    def __init__(self, source: str, reason: str) -> None:
        self.source, self.reason = source, reason
        super().__init__(f"{source}: {reason}")


class ExportFailed(Refused):
    """An export broke off, or its file cannot be written: there is none, or the one before."""


class SettingsInvalid(Refused):
    exit_code = 2


class WorkerUnfit(Refused):
    """The worker cannot train here, as where torch does not load."""


class DatabaseAway(Refused):
    """The database does not answer, or is not configured."""
