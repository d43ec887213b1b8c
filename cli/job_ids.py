"""The job that somebody means: a whole id, the beginning of one, or `last`."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from cli.errors import JobUnclear

if TYPE_CHECKING:
    from cli.client import Client

LAST = "last"
# The beginning of an id is looked for among so many of the newest jobs.
SEARCHED = 1_000
# A UUIDv7 begins with its time in milliseconds: 12 digits and a dash.
SHORT = 13

_BEGINNING = re.compile(r"[0-9a-f]{4}[0-9a-f-]*")
_NAMED = 3


def find_id(client: "Client", given: str) -> str:
    """The whole id of the job that is meant; a whole one is not looked for.

    Raises:
        JobUnclear: no id, of no job, or of more than one.

    """
    if given == LAST:
        newest = next(client.jobs(limit=1), None)
        if newest is None:
            raise JobUnclear("there is no job yet: `gradbook submit` makes one")
        return newest["id"]
    whole = _whole(given)
    return whole or _begun(client, given.lower())


def short_ids(ids: Sequence[str]) -> list[str]:
    """Each id's beginning, as long as it takes to tell these jobs apart."""
    length = SHORT
    while len({job_id[:length] for job_id in ids}) < len(set(ids)):
        length += 1
    return [job_id[:length] for job_id in ids]


def _whole(given: str) -> str | None:
    try:
        return str(UUID(given))
    except ValueError:
        return None


def _begun(client: "Client", beginning: str) -> str:
    if not _BEGINNING.fullmatch(beginning):
        raise JobUnclear(
            f"{beginning!r} is no job's id: `gradbook ls` lists them. The beginning of one will "
            "do, four digits or more, and `last` is the newest job's"
        )
    found = [job["id"] for job in client.jobs(limit=SEARCHED) if job["id"].startswith(beginning)]
    if not found:
        raise JobUnclear(f"none of the newest {SEARCHED:,} jobs has an id that begins {beginning}")
    if len(found) > 1:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise JobUnclear(
            f"{len(found)} jobs' ids begin {beginning}: {', '.join(found[:_NAMED])}{more}"
        )
    return found[0]
