"""Answers in zstd and gzip: as asked for, whole, and never where it is of no use."""

import gzip
import json

import httpx
import pyarrow as pa
import pytest
import zstandard
from sqlalchemy import Engine

from foundation.settings import ApiSettings, Settings
from tests.serving import serving
from tests.submitted import submit
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, write_job

pytestmark = on_newest_postgres

CODINGS = ["zstd", "gzip"]
coded = pytest.mark.parametrize("coding", CODINGS)


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    made = write_job(engine)
    made.write_many(30_000)
    return made


def raw(api: httpx.Client, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The answer, and its body as it came."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with api.stream("GET", path, headers={"Accept-Encoding": "identity", **names}) as answer:
        return answer, b"".join(answer.iter_raw())


def unpacked(body: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    reader = zstandard.ZstdDecompressor().decompressobj()
    whole: bytes = reader.decompress(body)
    assert reader.eof
    return whole


@coded
@pytest.mark.parametrize("form", ["ndjson", "csv", "arrow"])
def test_a_stream_is_compressed_as_it_is_asked_for(
    api: httpx.Client, job: WrittenJob, form: str, coding: str
) -> None:
    path = f"{job.path}/iterations?format={form}"
    plain_answer, plain = raw(api, path)
    answer, body = raw(api, path, Accept_Encoding=coding)
    assert answer.headers["content-encoding"] == coding
    assert "content-encoding" not in plain_answer.headers
    for each in (answer, plain_answer):
        assert "accept-encoding" in each.headers["vary"].lower()
        assert each.headers["content-type"] == plain_answer.headers["content-type"]
    assert unpacked(body, coding) == plain
    assert len(body) < len(plain) / 2


@coded
def test_pages_and_documents_are_compressed_too(api: httpx.Client, coding: str) -> None:
    job_id = submit(api)["id"]
    for path in (f"/v1/jobs/{job_id}", "/v1/jobs", "/openapi.json", "/v1/networks"):
        _, plain = raw(api, path)
        answer, body = raw(api, path, Accept_Encoding=coding)
        assert answer.headers["content-encoding"] == coding, path
        assert int(answer.headers["content-length"]) == len(body) < len(plain)
        assert unpacked(body, coding) == plain


def test_what_is_small_is_sent_as_it_is(api: httpx.Client, job: WrittenJob) -> None:
    answer, body = raw(api, f"{job.path}/iterations?limit=1", Accept_Encoding="zstd")
    assert "content-encoding" not in answer.headers
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert int(answer.headers["content-length"]) == len(body)
    json.loads(body)


def test_a_long_problem_is_compressed_and_keeps_its_status(api: httpx.Client) -> None:
    asked = "&".join(f"unknown{number}=1" for number in range(100))
    answer, body = raw(api, f"/v1/jobs?{asked}", Accept_Encoding="gzip")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert len(json.loads(unpacked(body, "gzip"))["errors"]) == 100


def test_parquet_is_not_compressed_twice(api: httpx.Client, job: WrittenJob) -> None:
    answer, body = raw(api, f"{job.path}/iterations?format=parquet", Accept_Encoding="zstd, gzip")
    assert "content-encoding" not in answer.headers
    assert (body[:4], body[-4:]) == (b"PAR1", b"PAR1")


def test_an_event_stream_is_sent_as_it_happens(api: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(api)['id']}/events"
    wanted = {"Accept": "text/event-stream", "Accept-Encoding": "zstd, gzip"}
    with api.stream("GET", path, headers=wanted) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers


@coded
def test_a_compressed_answer_has_a_weak_tag_that_spares_reading_it_again(
    api: httpx.Client, job: WrittenJob, coding: str
) -> None:
    job.finish()
    path = f"{job.path}/iterations?format=arrow"
    strong = raw(api, path)[0].headers["etag"]
    weak = raw(api, path, Accept_Encoding=coding)[0].headers["etag"]
    assert weak == f"W/{strong}"
    for known in (strong, weak):
        again, body = raw(api, path, Accept_Encoding=coding, If_None_Match=known)
        assert (again.status_code, again.headers["etag"], body) == (304, known, b"")
        assert "accept-encoding" in again.headers["vary"].lower()
    assert raw(api, path, If_None_Match=weak)[0].status_code == httpx.codes.NOT_MODIFIED


def test_a_client_that_says_nothing_or_nonsense_gets_plain_bytes(
    api: httpx.Client, job: WrittenJob
) -> None:
    for header in ("", "br", "gzip;q=0", "gzip;q=nan", "!?\t;;q", ",".join("x" * 3_000)):
        answer, body = raw(api, f"{job.path}/iterations?format=arrow", Accept_Encoding=header)
        assert "content-encoding" not in answer.headers
        assert pa.ipc.open_stream(body).read_all().num_rows == 30_000


@coded
def test_a_compressed_stream_that_breaks_is_seen_to_be_broken(
    settings: Settings, engine: Engine, coding: str
) -> None:
    long = write_job(engine)
    long.write_many(1_000_000)
    hurried = settings.model_copy(update={"api": ApiSettings(export_seconds=0.5)})
    asked = {"Accept-Encoding": coding}
    with (
        serving(hurried) as client,
        pytest.raises(httpx.RemoteProtocolError),
        client.stream("GET", f"{long.path}/iterations?format=ndjson", headers=asked) as answer,
    ):
        answer.read()
