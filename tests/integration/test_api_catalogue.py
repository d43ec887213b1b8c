"""The catalogue and the fleet over HTTP."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from services.catalogue import FILES
from services.database import transaction
from services.fleet import Worker, heartbeat
from tests.versions import on_newest_postgres
from tests.written import write_job
from worker.training.data.cifar import CIFAR


def items(api: httpx.Client, path: str) -> dict[str, Any]:
    answer = api.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    page = answer.json()
    assert page["next_cursor"] is None
    return {item["name"]: item for item in page["items"]}


def test_data_sets_are_listed_with_their_sizes(api: httpx.Client) -> None:
    found = items(api, "/v1/datasets")
    assert list(found) == ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "synthetic"]
    assert found["digits"] == {
        "name": "digits",
        "train_samples": 1_437,
        "test_samples": 360,
        "shape": [1, 8, 8],
        "classes": 10,
        "available": True,
    }
    assert found["synthetic"]["available"]
    assert not found["cifar10"]["available"]


@on_newest_postgres
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_a_data_set_is_available_once_all_its_files_are_there(
    api: httpx.Client, settings: Settings, name: str
) -> None:
    folder = settings.datasets_folder / name
    folder.mkdir(parents=True)
    for either in FILES[name]:
        assert not items(api, "/v1/datasets")[name]["available"]
        (folder / either[-1]).touch()
    assert items(api, "/v1/datasets")[name]["available"]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_catalogue_and_the_trainer_look_for_the_same_files(name: str) -> None:
    assert FILES[name] == ((CIFAR[name].folder, CIFAR[name].archive),)


def test_networks_are_listed_in_the_layer_language(api: httpx.Client) -> None:
    found = items(api, "/v1/networks")
    assert list(found) == ["linear", "mlp", "lenet5", "small_cnn", "vgg11", "resnet18", "resnet20"]
    assert found["lenet5"]["min_size"] == [16, 16]
    assert found["linear"]["layers"] == [
        {"flatten": {}},
        {"linear": {"features": 10, "bias": True}},
    ]


def test_a_listed_network_can_be_planned(api: httpx.Client) -> None:
    for name, network in items(api, "/v1/networks").items():
        spec = {"dataset": {"name": "cifar10"}, "epochs": 1}
        listed = api.post("/v1/plan", json={**spec, "network": {"layers": network["layers"]}})
        named = api.post("/v1/plan", json={**spec, "network": {"name": name}})
        assert listed.status_code == httpx.codes.OK, listed.text
        assert listed.json()["network"] == named.json()["network"]


def test_workers_are_listed_with_the_jobs_that_they_run(api: httpx.Client, engine: Engine) -> None:
    assert items(api, "/v1/workers") == {}
    job = write_job(engine)
    attempt = {"worker": "alpha", "host": "h", "device": "cpu", "slot": 0}
    job.write(
        "attempts",
        {**attempt, "number": 1, "ended_at": "2026-01-01T00:00:00Z"},
        {**attempt, "number": 2},
    )
    with transaction(engine) as connection:
        heartbeat(connection, Worker("beta", "host-b", 12, ["cpu"], ["default"]))
        heartbeat(connection, Worker("alpha", "host-a", 11, ["cuda:0", "cuda:1"], ["default"]))
    found = items(api, "/v1/workers")
    assert list(found) == ["alpha", "beta"]
    last_seen = found["alpha"].pop("last_seen")
    assert last_seen.endswith("Z")
    assert found["alpha"] == {
        "name": "alpha",
        "host": "host-a",
        "pid": 11,
        "slots": 2,
        "devices": ["cuda:0", "cuda:1"],
        "packages": [],
        "running": [str(job.id)],
    }
    assert found["beta"]["running"] == []


def test_projects_are_listed_with_their_jobs(api: httpx.Client, engine: Engine) -> None:
    for project in ("vision", "speech", "vision"):
        write_job(engine, project=project)
    assert items(api, "/v1/projects") == {
        "speech": {"name": "speech", "jobs": 1},
        "vision": {"name": "vision", "jobs": 2},
    }
    page = api.get("/v1/projects", params={"limit": 1}).json()
    assert [item["name"] for item in page["items"]] == ["speech"]
    rest = api.get("/v1/projects", params={"cursor": page["next_cursor"]}).json()
    assert [item["name"] for item in rest["items"]] == ["vision"]
