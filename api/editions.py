"""Entity tags of what a finished job's book holds: who has read it need not read it again.

A job that may still change has none. A tag is of the rows and of all that decides how they are
shown; jobs as such have tags of another kind (api/etags.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Header
from sqlalchemy import Connection

from api.etags import matches
from services.cursors import list_name
from services.editions import edition_of

# Counted up where the same rows come to be shown in other bytes.
_VERSION = 1

IfNoneMatch = Annotated[str | None, Header(description="The `ETag` of what the client has.")]
NOT_MODIFIED: dict[int | str, dict[str, str]] = {
    304: {"description": "It is as `If-None-Match` says; of finished jobs only."}
}


@dataclass(frozen=True, slots=True)
class Edition:
    """What an answer is about: whose book, and how it is asked for.

    Attributes:
        job_ids: the jobs, in the answer's order.
        asked: all else that decides the answer's bytes.
        if_none_match: the client's header.

    """

    job_ids: Sequence[UUID]
    asked: Sequence[object]
    if_none_match: str | None

    def headers(self, connection: Connection) -> Mapping[str, str]:
        """The answer's headers: its tag where all of the jobs are finished.

        Raises:
            JobMissing: names the first job that is not there.

        """
        edition = edition_of(connection, self.job_ids)
        if edition is None:
            return {"Cache-Control": "no-cache"}
        name = list_name(_VERSION, edition, *self.asked)
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        return {"Cache-Control": "no-cache", "ETag": f'"{digest}"'}

    def is_known(self, headers: Mapping[str, str]) -> bool:
        return "ETag" in headers and matches(self.if_none_match, headers["ETag"])
