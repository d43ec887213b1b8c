"""The resolved spec: api.md's defaults, filled in, and stable under another round."""

import json
from typing import Any

import pytest

from models.domain.spec import JobSpec, parse_spec, resolve
from tests.specs import DIGITS

CONTRACT: dict[str, Any] = {
    "spec_version": 1,
    "name": "",
    "project": "default",
    "tags": {},
    "notes": "",
    "parent": None,
    "priority": 0,
    "queue": "default",
    "max_attempts": 3,
    "dataset": {
        "name": "digits",
        "resize": None,
        "normalize": True,
        "train_samples": None,
        "test_samples": None,
        "validation": 0,
        "split_seed": 0,
    },
    "augment": [],
    "network": {"name": "mlp"},
    "init": {"name": "default"},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.0, "weight": None},
    "batch_size": 64,
    "drop_last": False,
    "micro_batch_size": None,
    "epochs": 3,
    "optimizer": {
        "name": "adamw",
        "lr": 0.001,
        "betas": [0.9, 0.999],
        "eps": 1e-08,
        "weight_decay": 0.01,
        "amsgrad": False,
        "no_decay": [],
    },
    "schedule": {"name": "constant", "warmup_iterations": 0},
    "grad_clip": None,
    "stop": {
        "target_loss": None,
        "target_on": "train_loss",
        "patience_epochs": None,
        "min_delta": 0.0,
        "max_iterations": None,
        "max_seconds": None,
        "on_non_finite": "fail",
    },
    "monitor": {"metric": "auto", "mode": "auto"},
    "evaluate": {"every_epochs": 1, "batch_size": None},
    "checkpoint": {"every_seconds": 60, "keep": 2, "keep_best": "auto"},
    "record": {"grad_norm_every": 10, "layers_every": 50},
    "device": "auto",
    "devices": 1,
    "precision": "auto",
    "compile": False,
    "seed": 0,
    "deterministic": True,
    "threads": 1,
}


def resolved(**changes: object) -> dict[str, Any]:
    return resolve(parse_spec(DIGITS | changes))


def test_three_fields_resolve_to_the_contract_s_defaults() -> None:
    assert resolved() == CONTRACT


def test_a_resolved_spec_is_plain_json() -> None:
    assert json.loads(json.dumps(resolved(), allow_nan=False)) == resolved()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "sgd", "lr": 1, "momentum": 0.9, "no_decay": ["bias", "norm"]}},
        {"optimizer": {"name": "adam"}},
        {"optimizer": {"name": "rmsprop"}},
        {"schedule": {"name": "step", "every_epochs": 2, "gamma": 0.5}},
        {"schedule": {"name": "multi_step", "epochs": [1, 2], "gamma": 0.5}},
        {"schedule": {"name": "cosine"}},
        {"schedule": {"name": "one_cycle", "max_lr": 0.01}},
        {"grad_clip": {"max_norm": 1}},
        {"grad_clip": {"max_value": 0.5}},
        {"loss": {"name": "mse"}},
        {"loss": {"weight": "balanced"}},
        {"loss": {"weight": [1, 2]}},
        {"batch_size": "full", "micro_batch_size": 100},
        {"dataset": {"name": "synthetic", "shape": [3, 4, 4], "classes": 2}},
        {"dataset": {"name": "digits", "resize": [16, 16], "validation": 0.25}},
        {"augment": [{"random_crop": {}}, {"random_horizontal_flip": {}}, {"cutout": {}}]},
        {"parent": "0190A6E0-7B3C-7000-8000-000000000000", "tags": {"team": "vision"}},
        {"checkpoint": {"every_seconds": 0.1, "keep_best": True}},
        {
            "network": {
                "layers": [
                    {"conv": {"channels": 4, "kernel": 3}},
                    {"max_pool": {"size": 2}},
                    {"residual": {"layers": [{"residual": {"layers": [{"gelu": {}}]}}]}},
                    {"leaky_relu": {"slope": 0.1}},
                    {"dropout": {"p": 0.5}},
                ]
            }
        },
    ],
    ids=lambda changes: json.dumps(changes)[:50],
)
def test_resolving_a_resolved_spec_changes_nothing(changes: dict[str, Any]) -> None:
    once = resolved(**changes)
    assert resolve(parse_spec(json.loads(json.dumps(once)))) == once


def test_a_whole_number_stands_for_a_float() -> None:
    lr = resolved(optimizer={"name": "sgd", "lr": 1})["optimizer"]["lr"]
    assert isinstance(lr, float)


def test_a_pool_s_stride_is_its_size_where_none_is_given() -> None:
    layers = {"layers": [{"max_pool": {"size": 3}}, {"avg_pool": {"size": 3, "stride": 1}}]}
    assert resolved(network=layers)["network"]["layers"] == [
        {"max_pool": {"size": 3, "stride": 3}},
        {"avg_pool": {"size": 3, "stride": 1}},
    ]


def test_an_optimizer_without_a_name_is_adamw() -> None:
    assert resolved(optimizer={"lr": 0.5})["optimizer"]["name"] == "adamw"


def test_synthetic_sizes_are_filled_in() -> None:
    dataset = resolved(dataset={"name": "synthetic"})["dataset"]
    assert (dataset["train_samples"], dataset["test_samples"]) == (10_000, 1_000)


def test_the_json_schema_names_every_field_and_writes_layers_as_they_are_sent() -> None:
    schema = JobSpec.model_json_schema()
    assert set(schema["properties"]) == set(CONTRACT)
    assert set(schema["required"]) == {"dataset", "network", "epochs"}
    assert schema["$defs"]["Conv"]["required"] == ["conv"]
    assert "\\u0000" not in json.dumps(schema)
