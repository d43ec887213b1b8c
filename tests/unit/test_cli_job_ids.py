"""The job that somebody means: by a whole id, the beginning of one, or as the last."""

from collections.abc import Sequence

import pytest

from cli.client import Client
from cli.errors import JobUnclear
from cli.job_ids import find_id, short_ids
from tests.unit.answering import a_job, answering, as_json

NEWEST = "01a20a4b-0e9e-72fa-8f0d-fcb597afe443"
BATCH = "01a20a4a-e7ac-7558-9190-18756b90f05c", "01a20a4a-e7ac-7559-b1f0-5d660adef89a"
JOBS = NEWEST, *BATCH


def _found(given: str, ids: Sequence[str] = JOBS) -> str:
    page = {"items": [a_job(id=job_id) for job_id in ids], "next_cursor": None}
    with answering(lambda *_: as_json(page)) as url, Client(url) as client:
        return find_id(client, given)


@pytest.mark.parametrize("given", [NEWEST, NEWEST.upper(), "01a20a4b", "01A20a4b-0e9e", "last"])
def test_a_job_is_found_by_its_id_the_beginning_of_it_or_as_the_last(given: str) -> None:
    assert _found(given) == NEWEST


def test_a_whole_id_is_not_looked_for() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert find_id(client, NEWEST) == NEWEST


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("01a20a4a", f"2 jobs' ids begin 01a20a4a: {BATCH[0]}, {BATCH[1]}"),
        ("0123", "none of the newest 1,000 jobs"),
        ("01a", "is no job's id"),
        ("../datasets", "is no job's id"),
        ("", "is no job's id"),
    ],
)
def test_what_names_no_job_or_two_is_refused(given: str, told: str) -> None:
    with pytest.raises(JobUnclear) as refused:
        _found(given)
    assert told in str(refused.value)


def test_there_is_no_last_job_where_there_is_none() -> None:
    with pytest.raises(JobUnclear, match="no job yet"):
        _found("last", [])


def test_short_ids_are_as_long_as_it_takes_to_tell_the_jobs_apart() -> None:
    assert short_ids([NEWEST, BATCH[0]]) == ["01a20a4b-0e9e", "01a20a4a-e7ac"]
    assert short_ids(BATCH) == ["01a20a4a-e7ac-7558", "01a20a4a-e7ac-7559"]
    assert short_ids([]) == []
