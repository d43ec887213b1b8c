"""Entity tags of a job. They carry its state and epoch, so that who waits can say what it saw."""

import hashlib
import re

from models.domain.lifecycle import State
from services.standing import Standing

_ETAG = re.compile(r'"([a-z]+)\.([0-9]{1,9})\.[0-9a-f]{24}"')


def etag_of(standing: Standing, body: bytes) -> str:
    digest = hashlib.sha256(body).hexdigest()[:24]
    return f'"{standing.state}.{standing.epoch}.{digest}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Compare as RFC 9110 13.1.2 has it: weakly, any of a list, or a star for whatever there is."""
    if if_none_match is None:
        return False
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in given or etag in given


def standing_in(if_none_match: str | None) -> Standing | None:
    """What the client has seen; None where it shows no tag of ours."""
    found = _ETAG.search(if_none_match or "")
    if found is None or found[1] not in set(State):
        return None
    return Standing(State(found[1]), int(found[2]))
