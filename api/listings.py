"""The query of a list of jobs, read into what the service asks for."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from models.domain.errors import Breach, QueryInvalid
from models.domain.lifecycle import State
from models.domain.search import OrderInvalid, parse_filter, parse_group, parse_orders
from services.grouping import Grouping
from services.jobs import Part
from services.listing import NEWEST_FIRST, Listing
from services.selecting import Selection

MOST_TAGS = 64
"""A job has no more."""


async def job_selection(
    *,
    project: Annotated[str | None, Query()] = None,
    state: Annotated[list[State] | None, Query(description="Any of these.")] = None,
    tag: Annotated[
        list[str] | None, Query(max_length=MOST_TAGS, description="`key:value`; each of these.")
    ] = None,
    filter: Annotated[  # noqa: A002 - the contract's name
        str | None,
        Query(description="`state = 'running' and summary.best_loss < 0.5`"),
    ] = None,
) -> Selection:
    return Selection(
        project=project,
        states=tuple(state or ()),
        tags=tuple(_tag(each) for each in tag or ()),
        condition=None if filter is None else parse_filter(filter),
    )


JobSelection = Annotated[Selection, Depends(job_selection)]


async def job_listing(
    *,
    selection: JobSelection,
    order_by: Annotated[
        str | None,
        Query(description="`summary.best_loss,-created_at`; `-created_at` unless given."),
    ] = None,
    include: Annotated[
        list[str] | None,
        Query(description="Of `attempts`, `metrics`, `plan.network`, `error.traceback`: `a,b`."),
    ] = None,
    group_by: Annotated[
        str | None,
        Query(description="`spec.optimizer.lr`: an item a value, with statistics of its jobs."),
    ] = None,
) -> Listing | Grouping:
    if group_by is not None:
        for name, given in (("order_by", order_by), ("include", include)):
            if given is not None:
                raise QueryInvalid([Breach(("query", name), "does not go with group_by")])
        return Grouping(selection, _parsed("group_by", parse_group, group_by))
    return Listing(
        selection=selection,
        orders=NEWEST_FIRST if order_by is None else _parsed("order_by", parse_orders, order_by),
        parts=frozenset(_part(name) for names in include or () for name in names.split(",")),
    )


JobListing = Annotated[Listing | Grouping, Depends(job_listing)]
T = TypeVar("T")


def _parsed(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except OrderInvalid as error:
        raise QueryInvalid([Breach(("query", name), str(error))]) from None


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
