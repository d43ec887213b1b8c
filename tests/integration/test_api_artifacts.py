"""Files of a job over HTTP: what is booked, byte for byte, and nothing else."""

import hashlib
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, write_job


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine)


def book(job: WrittenJob, name: str, path: Path, content: bytes, kind: str = "weights") -> None:
    """Write a file and book it, wherever it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    job.write(
        "artifacts",
        {
            "name": name,
            "kind": kind,
            "uri": str(path),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "attempt": 1,
        },
    )


def write_attempt(job: WrittenJob, number: int, environment: dict[str, str] | None) -> None:
    job.write(
        "attempts",
        {
            "number": number,
            "worker": "w",
            "host": "h",
            "slot": 0,
            "device": "cpu",
            "environment": environment,
            "ended_at": "2026-01-01T00:00:00Z",
        },
    )


@pytest.fixture
def store(settings: Settings, job: WrittenJob) -> Path:
    return Path(settings.artifacts_url) / str(job.id)


def test_a_file_comes_as_it_was_written(api: httpx.Client, job: WrittenJob, store: Path) -> None:
    content = bytes(range(256)) * 20_000
    book(job, "weights.safetensors", store / "1" / "w", content)
    answer = api.get(f"{job.path}/artifacts/weights.safetensors")
    digest = hashlib.sha256(content).hexdigest()
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["etag"] == f'"{digest}"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'attachment; filename="weights.safetensors"'
    again = api.get(answer.url.path, headers={"If-None-Match": f'"{digest}"'})
    assert again.status_code == httpx.codes.NOT_MODIFIED
    assert again.content == b""


def test_the_list_names_files_checkpoints_and_environment(
    api: httpx.Client, job: WrittenJob, store: Path
) -> None:
    book(job, "weights.safetensors", store / "w", b"abc")
    job.write(
        "checkpoints",
        {
            "iteration": 200,
            "attempt": 2,
            "uri": str(store / "2" / "200.pt"),
            "bytes": 4,
            "sha256": "f" * 64,
        },
    )
    write_attempt(job, 1, {"torch": "2.13.0"})
    write_attempt(job, 2, None)
    write_attempt(job, 3, {"torch": "2.13.1"})
    page = api.get(f"{job.path}/artifacts").json()
    assert page["next_cursor"] is None
    items = {item["name"]: item for item in page["items"]}
    assert list(items) == ["checkpoint-200-2.pt", "environment.json", "weights.safetensors"]
    assert items["weights.safetensors"].keys() == {"name", "kind", "bytes", "sha256", "created_at"}
    environment = api.get(f"{job.path}/artifacts/environment.json")
    assert environment.json() == [
        {"attempt": 1, "torch": "2.13.0"},
        {"attempt": 3, "torch": "2.13.1"},
    ]
    assert environment.headers["content-type"] == "application/json"
    booked = items["environment.json"]
    assert booked["bytes"] == len(environment.content)
    assert booked["sha256"] == hashlib.sha256(environment.content).hexdigest()


@on_newest_postgres
@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "%2e%2e%2fweights.safetensors",
        "..%2f..%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "weights.safetensors%20",
        "'; DROP TABLE jobs; --",
    ],
)
def test_a_name_that_is_not_booked_is_missing(
    api: httpx.Client, job: WrittenJob, store: Path, name: str
) -> None:
    book(job, "weights.safetensors", store / "w", b"abc")
    answer = api.get(f"{job.path}/artifacts/{name}")
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_nul_in_a_name_is_refused(api: httpx.Client, job: WrittenJob) -> None:
    answer = api.get(f"{job.path}/artifacts/%00")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_a_booked_file_outside_the_store_is_not_served(
    api: httpx.Client, job: WrittenJob, store: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    book(job, "outside", secret, b"secret")
    book(job, "dotted", store / ".." / ".." / ".." / "dotted", b"secret")
    (store / "link").symlink_to(secret)
    job.write(
        "artifacts",
        *(
            {"name": name, "kind": "x", "uri": uri, "bytes": 6, "sha256": "0", "attempt": 1}
            for name, uri in {
                "linked": str(store / "link"),
                "chained": f"simplecache::file://{secret}",
                "other": "memory://secret",
                "root": str(store.parent),
            }.items()
        ),
    )
    for name in ("outside", "dotted", "linked", "chained", "other", "root"):
        answer = api.get(f"{job.path}/artifacts/{name}")
        assert answer.status_code == httpx.codes.NOT_FOUND, name
        assert b"secret" not in answer.content.replace(str(job.id).encode(), b"")


def test_a_file_that_is_gone_is_missing(api: httpx.Client, job: WrittenJob, store: Path) -> None:
    book(job, "weights.safetensors", store / "w", b"abc")
    (store / "w").unlink()
    answer = api.get(f"{job.path}/artifacts/weights.safetensors")
    assert answer.status_code == httpx.codes.NOT_FOUND


def test_a_file_that_was_cut_short_does_not_pass_for_whole(
    api: httpx.Client, job: WrittenJob, store: Path
) -> None:
    book(job, "weights.safetensors", store / "w", b"abcdef")
    (store / "w").write_bytes(b"abc")
    with pytest.raises(httpx.RemoteProtocolError):
        api.get(f"{job.path}/artifacts/weights.safetensors")
