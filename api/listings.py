"""The query of a list of jobs, read into what the service asks for."""

from typing import Annotated

from fastapi import Depends, Query

from models.domain.errors import Breach, NotBuilt, QueryInvalid
from models.domain.lifecycle import State
from services.jobs import Part
from services.listing import Listing

ORDERS = {"created_at": False, "-created_at": True}


async def job_listing(
    *,
    project: Annotated[str | None, Query()] = None,
    state: Annotated[list[State] | None, Query(description="Any of these.")] = None,
    tag: Annotated[list[str] | None, Query(description="`key:value`; each of these.")] = None,
    order_by: Annotated[str, Query(description="`created_at` or `-created_at`.")] = "-created_at",
    include: Annotated[
        list[str] | None,
        Query(description="Of `attempts`, `metrics`, `plan.network`, `error.traceback`: `a,b`."),
    ] = None,
    filter: Annotated[str | None, Query()] = None,  # noqa: A002 - the contract's name
    group_by: Annotated[str | None, Query()] = None,
) -> Listing:
    if filter is not None:
        raise NotBuilt("filter=")
    if group_by is not None:
        raise NotBuilt("group_by=")
    if order_by not in ORDERS:
        raise NotBuilt(f"order_by={order_by[:100]}")
    return Listing(
        project=project,
        states=tuple(state or ()),
        tags=tuple(_tag(each) for each in tag or ()),
        newest_first=ORDERS[order_by],
        parts=frozenset(_part(name) for names in include or () for name in names.split(",")),
    )


JobListing = Annotated[Listing, Depends(job_listing)]


def _tag(text: str) -> str:
    if ":" not in text:
        raise QueryInvalid([Breach(("query", "tag"), "a tag is asked for as key:value")])
    return text


def _part(name: str) -> Part:
    try:
        return Part(name.strip())
    except ValueError:
        words = ", ".join(Part)
        raise QueryInvalid([Breach(("query", "include"), f"one of {words}")]) from None
