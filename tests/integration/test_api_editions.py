"""ETags of a finished job's book: read once; a job that may still change has none."""

import httpx
import pytest
from sqlalchemy import Engine, update

from models.tables import jobs
from services.database import transaction
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

PAGES = [
    "/iterations",
    "/iterations?limit=2",
    "/iterations?format=ndjson",
    "/iterations?format=csv&limit=2",
    "/iterations?format=arrow",
    "/iterations?format=parquet",
    "/epochs",
    "/layers",
]


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    made = write_job(engine, plan={"network": {"layers": []}})
    made.write_rows(make_rows([3.0, 2.0, 1.0]))
    return made


def etag_of(api: httpx.Client, path: str, **headers: str) -> str:
    answer = api.get(path, headers=headers)
    assert answer.status_code == httpx.codes.OK, answer.text
    etag: str = answer.headers["etag"]
    return etag


@pytest.mark.parametrize("page", PAGES)
def test_who_has_read_a_finished_book_need_not_read_it_again(
    api: httpx.Client, job: WrittenJob, page: str
) -> None:
    job.finish()
    etag = etag_of(api, job.path + page)
    for known in (etag, f'"other", {etag}', "*"):
        again = api.get(job.path + page, headers={"If-None-Match": known})
        assert again.status_code == httpx.codes.NOT_MODIFIED
        assert again.headers["etag"].removeprefix("W/") == etag.removeprefix("W/")
        assert again.content == b""
    other = api.get(job.path + page, headers={"If-None-Match": '"other"'})
    assert other.status_code == httpx.codes.OK


@pytest.mark.parametrize("page", PAGES)
def test_a_book_that_is_still_written_has_no_tag(
    api: httpx.Client, job: WrittenJob, page: str
) -> None:
    answer = api.get(job.path + page, headers={"If-None-Match": "*"})
    assert answer.status_code == httpx.codes.OK
    assert "etag" not in answer.headers


def test_each_way_to_ask_has_a_tag_of_its_own(api: httpx.Client, job: WrittenJob) -> None:
    job.finish()
    ways = [
        "", "?limit=2", "?limit=3", "?format=csv", "?format=arrow", "?fields=loss",
        "?from=2", "?to=2", "?epoch=1",
    ]  # fmt: skip
    tags = [etag_of(api, f"{job.path}/iterations{way}") for way in ways]
    tags.append(
        etag_of(api, f"{job.path}/iterations", Accept="text/csv;q=0.5, application/x-ndjson")
    )
    assert len(set(tags)) == len(tags)


def test_a_job_that_ends_again_has_another_tag(
    api: httpx.Client, engine: Engine, job: WrittenJob
) -> None:
    job.finish()
    before = etag_of(api, f"{job.path}/iterations?format=arrow")
    with transaction(engine) as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.key == job.key)
            .values(state="queued", stop_reason=None, finished_at=None)
        )
    assert "etag" not in api.get(f"{job.path}/iterations?format=arrow").headers
    job.finish()
    assert etag_of(api, f"{job.path}/iterations?format=arrow") != before


def test_an_export_has_a_tag_once_all_of_its_jobs_are_finished(
    api: httpx.Client, engine: Engine, job: WrittenJob
) -> None:
    other = write_job(engine)
    job.finish()
    path = f"/v1/export?job={job.id}&job={other.id}"
    assert "etag" not in api.get(path).headers
    other.finish()
    etag = etag_of(api, path)
    assert api.get(path, headers={"If-None-Match": etag}).status_code == 304
    turned = f"/v1/export?job={other.id}&job={job.id}"
    assert api.get(turned, headers={"If-None-Match": etag}).status_code == 200
