"""Code of a team's own in a spec: bounded, resolved, hashed, and planned as far as anybody can."""

from typing import Any

import pytest

from models.domain.entrypoints import entrypoints_in, packages_in
from models.domain.spec import parse_spec, resolve, spec_sha256
from tests.specs import DIGITS, plan_of, refusals_of

DATA: dict[str, Any] = {
    "entrypoint": "team.data:load",
    "shape": [1, 8, 8],
    "classes": 4,
    "train_samples": 256,
    "test_samples": 64,
}
OWN: dict[str, Any] = {
    "dataset": DATA,
    "network": {"entrypoint": "team.nets:build", "options": {"width": 8}},
    "loss": {"entrypoint": "losses:Focal"},
    "optimizer": {"entrypoint": "team.optim:Lion", "lr": 0.01, "options": {"betas": [0.9, 0.99]}},
    "epochs": 3,
    "batch_size": 100,
}


def test_a_resolved_spec_says_all_of_it_and_is_the_same_again() -> None:
    resolved = resolve(parse_spec(OWN))
    assert resolved["dataset"] == {
        **DATA,
        "options": {},
        "normalize": False,
        "validation": 0,
        "split_seed": 0,
    }
    assert resolved["optimizer"]["options"] == {"betas": [0.9, 0.99]}
    assert resolve(parse_spec(resolved)) == resolved
    assert entrypoints_in(resolved) == {
        "dataset": "team.data:load",
        "network": "team.nets:build",
        "loss": "losses:Focal",
        "optimizer": "team.optim:Lion",
    }
    assert packages_in(resolved) == ["losses", "team"]
    assert packages_in(resolve(parse_spec(DIGITS))) == []


def test_its_name_and_its_options_count_for_the_hash() -> None:
    hashes = {
        spec_sha256(parse_spec(OWN | {"network": network}))
        for network in (
            {"entrypoint": "team.nets:build"},
            {"entrypoint": "team.nets:other"},
            {"entrypoint": "team.nets:build", "options": {"width": 9}},
        )
    }
    assert len(hashes) == 3


def test_the_plan_counts_batches_and_says_that_it_does_not_know_the_network() -> None:
    plan = plan_of(OWN)
    assert (plan.train_samples, plan.test_samples, plan.iterations_total) == (256, 64, 9)
    assert (plan.network.parameters, plan.network.layers) == (None, ())
    assert plan.suggested_batch_size is None
    assert plan.warnings == ()
    held_out = plan_of(OWN, dataset=DATA | {"validation": 0.25})
    assert (held_out.train_samples, held_out.validation_samples) == (192, 64)


def test_a_network_of_the_house_is_placed_on_data_of_a_teams_own() -> None:
    plan = plan_of(OWN, network={"name": "mlp"})
    assert plan.network.layers[-1].output_shape == (4,)
    assert plan.suggested_batch_size == 256
    for shape in ([3, 8], [1, 8, 8, 8]):
        refusals = refusals_of(OWN, network={"name": "mlp"}, dataset=DATA | {"shape": shape})
        assert "[channels, height, width]" in refusals["dataset", "shape"]


@pytest.mark.parametrize(
    "name",
    [
        "", "build", "team:", ":build", "team.nets", "team..nets:build", "team.nets:Net.build",
        "team.nets:build()", "team nets:build", "../team:build", "team.nets:_private",
        "_team:build", "team.nets:__import__", "téam:build", "team.nets:build\n",
        "a" * 196 + ".b:cd", "1team:build",
    ],
)  # fmt: skip
def test_what_is_no_name_of_a_callable_is_refused(name: str) -> None:
    refusals = refusals_of(OWN, network={"entrypoint": name})
    assert list(refusals) == [("network", "entrypoint")]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"not a name": 1}, "no name of an argument"),
        ({"": 1}, "no name of an argument"),
        ({f"o{number}": 1 for number in range(101)}, "at most 100"),
        ({"big": "x" * 70_000}, "65,536 bytes"),
        ([1], "an object is expected"),
    ],
)
def test_options_are_bounded(options: object, word: str) -> None:
    refusals = refusals_of(OWN, network={"entrypoint": "team.nets:build", "options": options})
    assert word in refusals["network", "options"]


@pytest.mark.parametrize(
    ("changes", "loc", "word"),
    [
        ({"network": {"entrypoint": 3}}, ("network", "entrypoint"), "text is expected"),
        ({"network": {"entrypoint": "a:b", "name": "mlp"}}, ("network", "name"), "unknown field"),
        ({"network": {"entrypoint": "a:b", "option": {}}}, ("network", "option"), "options?"),
        ({"loss": {"entrypoint": "a:b", "weight": None}}, ("loss", "weight"), "belongs to loss"),
        ({"optimizer": {"entrypoint": "a:b", "lr": 0}}, ("optimizer", "lr"), "greater than 0"),
        ({"dataset": {"entrypoint": "a:b"}}, ("dataset", "train_samples"), "is required"),
        ({"dataset": DATA | {"shape": []}}, ("dataset", "shape"), "at least 1"),
        ({"dataset": DATA | {"classes": 1}}, ("dataset", "classes"), "greater than or equal to 2"),
        ({"dataset": DATA | {"resize": [4, 4]}}, ("dataset", "resize"), "unknown field"),
        ({"dataset": DATA | {"train_samples": 2**60}}, ("dataset",), "more than the limit"),
        ({"dataset": DATA | {"shape": [8]}, "augment": [{"cutout": {}}]}, ("augment", 0, "cutout"),
         "needs images"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_refused_at_its_place(
    changes: dict[str, Any], loc: tuple[str | int, ...], word: str
) -> None:
    assert word in refusals_of(OWN, **changes)[loc]
