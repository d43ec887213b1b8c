"""docker-compose.yml: what it says, and that what it says runs."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from cli.stack.binaries import postgres_programs, valkey_program
from cli.stack.postgres import EmbeddedPostgres
from tests.architecture.sources import ROOT
from tests.integration.composing import (
    VARIABLE,
    Translation,
    VariableMissing,
    interpolate,
    read,
    seconds,
    write_programs,
)
from tests.processes import end, free_port
from tests.waiting import wait_until

SECRETS = {"POSTGRES_PASSWORD": "pg", "REDIS_PASSWORD": "valkeysecret"}
SERVICES: dict[str, dict[str, Any]] = read("docker-compose.yml", SECRETS)["services"]
OURS = ("migrate", "api", "worker")
SPEC = {
    "dataset": {"name": "digits"},
    "network": {"name": "linear"},
    "epochs": 1,
    "checkpoint": {"every_seconds": 60},
}


def test_the_deployment_has_its_five_services() -> None:
    assert set(SERVICES) == {"postgres", "redis", *OURS}
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["redis"]["image"] == "redis:7"


@pytest.mark.parametrize("name", SECRETS)
def test_a_password_has_no_default(name: str) -> None:
    others = {other: value for other, value in SECRETS.items() if other != name}
    with pytest.raises(VariableMissing, match=name):
        read("docker-compose.yml", others)
    with pytest.raises(VariableMissing, match=name):
        read("docker-compose.yml", others | {name: ""})


def _variables(file: str) -> set[str]:
    return {match[1] for match in VARIABLE.finditer((ROOT / file).read_text())}


def test_the_example_of_the_environment_names_every_variable() -> None:
    example = (ROOT / ".env.example").read_text()
    for name in _variables("docker-compose.yml") | _variables("docker-compose.gpu.yml"):
        assert f"{name}=" in example


def test_variables_are_read_by_composes_rules() -> None:
    assert interpolate("${A:-x} ${A-x} ${B} $$C", {"A": "", "B": "b"}) == "x  b $C"


def test_what_docker_would_provide_is_put_in_whole_words_and_once() -> None:
    translation = Translation(
        Path(), {"@postgres:5432": "@here:28000", "5432": "28000", "8000": "1"}
    )
    url = "postgresql://gradbook:a5432b8000@postgres:5432/gradbook"
    assert translation.text(url) == "postgresql://gradbook:a5432b8000@here:28000/gradbook"
    assert translation.text("-p 5432, http://x:8000/readyz") == "-p 28000, http://x:1/readyz"


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_an_init_that_reaps(name: str) -> None:
    assert SERVICES[name]["init"] is True


def test_the_worker_may_use_all_of_its_grace_time() -> None:
    worker = SERVICES["worker"]
    grace = float(worker["environment"]["GRADBOOK_WORKER_GRACE_SECONDS"])
    assert seconds(worker["stop_grace_period"]) > grace + 10


def test_only_the_api_is_published_and_only_to_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_the_book_and_the_files_outlive_their_containers() -> None:
    volumes = read("docker-compose.yml", SECRETS)["volumes"]
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert {SERVICES[name]["volumes"][0] for name in OURS} == {"files:/data"}
    assert set(volumes) == {"postgres", "files"}


def test_whoever_needs_the_schema_waits_for_the_migration() -> None:
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    for name in ("api", "worker"):
        waits = SERVICES[name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"


def test_the_override_gives_the_worker_the_gpus_and_a_torch_that_uses_them() -> None:
    services = read("docker-compose.gpu.yml", {})["services"]
    assert set(services) == {"worker"}
    worker = services["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert worker["build"]["args"]["TORCH_INDEX"] == ""
    assert worker["image"] != SERVICES["worker"]["image"]


class Deployment(NamedTuple):
    services: dict[str, dict[str, Any]]
    translation: Translation
    folder: Path
    url: str

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a service until it is healthy, and end it as `docker compose stop` does."""
        service, log = self.services[name], self.folder / f"{name}.log"
        process = self.translation.start(service, log)
        try:

            def healthy() -> bool:
                assert process.poll() is None, log.read_text()
                return self.translation.is_healthy(service)

            wait_until(healthy, 60, f"{name} is healthy: {log}")
            yield process
        finally:
            end(process)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """PostgreSQL in the place of its image; everything else is started from the file."""
    folder = tmp_path_factory.mktemp("deployment")
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    try:
        database = httpx.URL(server.url)
        services = read("docker-compose.yml", SECRETS | {"POSTGRES_PASSWORD": database.password})[
            "services"
        ]
        redis, api = str(free_port()), str(free_port())
        programs = write_programs(folder / "bin", postgres_programs(18), valkey_program())
        translation = Translation(
            programs,
            {
                "@postgres:5432": f"@127.0.0.1:{database.port}",
                "5432": str(database.port),
                "@redis:6379": f"@127.0.0.1:{redis}",
                "6379": redis,
                "0.0.0.0": "127.0.0.1",  # noqa: S104 - what the container listens on
                "8000": api,
                "/data": str(folder / "data"),
            },
        )
        yield Deployment(services, translation, folder, f"http://127.0.0.1:{api}")
    finally:
        server.stop()


def test_the_deployment_runs_a_job_to_its_end(deployment: Deployment) -> None:
    translation, services = deployment.translation, deployment.services
    assert translation.is_healthy(services["postgres"])
    assert not translation.is_healthy(services["redis"])
    with deployment.running("redis"):
        migration = translation.start(services["migrate"], deployment.folder / "migrate.log")
        assert migration.wait(60) == 0, (deployment.folder / "migrate.log").read_text()
        with deployment.running("api") as api, deployment.running("worker") as worker:
            _train_one_job(deployment)
            worker.terminate()
            assert worker.wait(seconds(services["worker"]["stop_grace_period"])) == 0
            assert not translation.is_healthy(services["worker"])
            api.terminate()
            assert api.wait(seconds(services["api"]["stop_grace_period"])) == 0
            assert not translation.is_healthy(services["api"])
        migration = translation.start(services["migrate"], deployment.folder / "migrate.log")
        assert migration.wait(60) == 0


def _train_one_job(deployment: Deployment) -> None:
    with httpx.Client(base_url=deployment.url, timeout=30) as client:
        answer = client.post("/v1/jobs", json=SPEC)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        path = f"/v1/jobs/{answer.json()['id']}"

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = client.get(path).json()
            return job if job["finished_at"] else None

        job = wait_until(ended, 60, "the job ends")
        assert job["state"] == "succeeded", job
        assert job["book"]["rows"] == job["plan"]["iterations_total"]
        # The API reads what the worker wrote: they share /data.
        weights = client.get(f"{path}/artifacts/weights.safetensors")
        assert weights.status_code == httpx.codes.OK


def test_a_wrong_password_makes_the_broker_unhealthy(deployment: Deployment) -> None:
    service = deployment.services["redis"]
    wrong = service | {"environment": {"REDISCLI_AUTH": "wrong"}}
    with deployment.running("redis"):
        assert deployment.translation.is_healthy(service)
        assert not deployment.translation.is_healthy(wrong)
