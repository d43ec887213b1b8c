"""Parameters that many routes share."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query

LIST_ITEMS = 50
MOST_LIST_ITEMS = 1_000
LARGEST = 2**63 - 1
LARGEST_EPOCH = 2**31 - 1

JobId = Annotated[UUID, Path(description="The job.")]
Limit = Annotated[int, Query(ge=1, le=MOST_LIST_ITEMS, description="How many items at most.")]
Cursor = Annotated[
    str | None, Query(description="Where the list goes on: the page before's `next_cursor`.")
]
