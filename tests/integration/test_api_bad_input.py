"""What bad specs get: a problem with the place, no 500, and nothing stored."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

from models.tables import jobs
from services.database import transaction
from tests.submitted import spec_of
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

PATHS = ("/v1/plan", "/v1/jobs", "/v1/jobs/batch")

CIFAR = {"name": "cifar10"}
BAD: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "an unknown field": ({"learning_rate": 0.1}, ["learning_rate"]),
    "an unknown option of a layer": (
        {"network": {"layers": [{"conv": {"channels": 8, "kernel_size": 3}}]}},
        ["network", "layers", 0, "conv", "kernel_size"],
    ),
    "true where a number belongs": ({"batch_size": True}, ["batch_size"]),
    "text where a number belongs": ({"epochs": "3"}, ["epochs"]),
    "a batch size of 0": ({"batch_size": 0}, ["batch_size"]),
    "a negative batch size": ({"batch_size": -1}, ["batch_size"]),
    "a batch size over N": ({"batch_size": 1438}, ["batch_size"]),
    "a word for a batch size": ({"batch_size": "half"}, ["batch_size"]),
    "no epochs": ({"epochs": 0}, ["epochs"]),
    "a learning rate of 0": ({"optimizer": {"name": "sgd", "lr": 0}}, ["optimizer", "lr"]),
    "a name of 10,000 characters": ({"name": "x" * 10_000}, ["name"]),
    "a NUL in the name": ({"name": "a\0b"}, ["name"]),
    "a NUL in a tag": ({"tags": {"a": "\0"}}, ["tags", "a"]),
    "shapes that do not fit": (
        {"network": {"layers": [{"conv": {"channels": 8, "kernel": 9}}]}},
        ["network", "layers", 0],
    ),
    "more outputs than classes": (
        {"network": {"layers": [{"flatten": {}}, {"linear": {"features": 11}}]}},
        ["network", "layers", 1],
    ),
    "a network too large for memory": (
        {"network": {"layers": [{"flatten": {}}, {"linear": {"features": 60_000}}] * 3}},
        ["network"],
    ),
    "a validation set that leaves nothing": (
        {"dataset": {"name": "digits", "validation": 1437}},
        ["dataset", "validation"],
    ),
    "a network that needs larger images": ({"network": {"name": "lenet5"}}, ["network"]),
}


def stored(engine: Engine) -> int:
    with transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(jobs)).scalar_one()


def is_problem(answer: httpx.Response) -> bool:
    body = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and body["status"] == answer.status_code
        and body["type"].startswith("/problems/")
        and {"type", "title", "status", "detail"} <= set(body)
    )


def test_every_bad_spec_is_refused_with_its_place_wherever_it_is_sent(
    api: httpx.Client, engine: Engine
) -> None:
    for what, (change, loc) in BAD.items():
        for path in PATHS:
            spec = spec_of(**change)
            body = {"items": [spec_of(), spec]} if path.endswith("batch") else spec
            place = ["items", 1, *loc] if path.endswith("batch") else loc
            answer = api.post(path, json=body)
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (what, answer.text)
            assert is_problem(answer), what
            found = [error["loc"][: len(place)] for error in answer.json()["errors"]]
            assert place in found, (what, answer.text)
    assert stored(engine) == 0


@pytest.mark.parametrize("body", [[], "spec", 7, True, [[]]])
def test_a_spec_that_is_no_object_is_refused(api: httpx.Client, body: object) -> None:
    for path in PATHS:
        answer = api.post(path, json=body)
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert is_problem(answer)


def test_an_unknown_field_comes_with_the_nearest_name(api: httpx.Client) -> None:
    layers = [{"conv": {"channels": 8, "kernel_size": 3}}]
    answer = api.post("/v1/plan", json=spec_of(network={"layers": layers}))
    assert any("did you mean kernel?" in error["msg"] for error in answer.json()["errors"])


def test_no_place_holds_a_word_that_was_not_sent(api: httpx.Client) -> None:
    spec = spec_of(
        optimizer={"name": "sgd", "lr": -1},
        schedule={"name": "step", "every_epochs": "x", "gamma": 2},
        network={"layers": [{"residual": {"layers": [{"conv": {"channels": "x"}}]}}]},
        batch_size="many",
    )
    sent = str(spec)
    for error in api.post("/v1/plan", json=spec).json()["errors"]:
        # `kernel` is the one that is missing.
        words = [word for word in error["loc"] if isinstance(word, str)]
        assert all(word in sent or word == "kernel" for word in words), error
