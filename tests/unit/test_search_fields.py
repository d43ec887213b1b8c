"""What a search may name: every path of a job, and nothing else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from foundation.settings import LimitsSettings
from models.domain.search import Kind, OrderInvalid, parse_group, parse_orders
from models.domain.search.fields import FIELDS, Field, FieldUnknown, find_field
from models.schemas.job import JobItem
from services.columns import column_of
from services.ordering import sortable
from services.submission import draft_job
from tests.architecture.sources import ROOT
from tests.submitted import spec_of

SPECS = [
    spec_of(),
    spec_of(
        optimizer={"name": "sgd", "lr": 0.1},
        schedule={"name": "step", "every_epochs": 1, "gamma": 0.5},
    ),
    spec_of(network={"layers": [{"flatten": {}}, {"linear": {"features": 10}}]}),
    spec_of(augment=[{"random_crop": {"padding": 1}}], grad_clip={"max_norm": 1.0}),
    spec_of(dataset={"name": "synthetic", "shape": [1, 4, 4], "classes": 2}),
    *(json.loads(path.read_text()) for path in sorted((ROOT / "examples").glob("*.json"))),
]
NOT_SEARCHED = {"waiting_for", "queue_position", "attempts", "tags", "spec", "plan", "metrics"}


def paths(value: Any, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - JSON
    yield before
    inner = value.items() if isinstance(value, dict) else ()
    for name, each in [*inner, *enumerate(value if isinstance(value, list) else ())]:
        yield from paths(each, (*before, str(name)))


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_every_path_of_a_spec_and_its_plan_is_a_field(spec: Any) -> None:  # noqa: ANN401 - JSON
    draft = draft_job(spec, LimitsSettings())
    documents = {"spec": draft.resolved, "plan": draft.plan.model_dump(mode="json")}
    found = [
        path for path in paths(documents, ()) if len(path) > 1 and path[:2] != ("spec", "tags")
    ]
    assert len(found) > 35
    for path in found:
        assert find_field(".".join(path)) == Field(path, Kind.JSON)


def test_every_field_of_a_job_can_be_asked_for() -> None:
    roots = {field.path[0] for field in FIELDS}
    assert set(JobItem.model_fields) - roots == NOT_SEARCHED
    assert roots - set(JobItem.model_fields) == {"queue"}


def leaves(model: Any, before: str) -> Iterator[str]:  # noqa: ANN401 - a JSON schema
    for name, schema in model.model_json_schema()["properties"].items():
        if "$ref" not in json.dumps(schema):
            yield f"{before}.{name}"


def test_every_number_of_progress_latest_and_summary_is_a_field() -> None:
    known = {str(field) for field in FIELDS}
    for name in ("progress", "latest", "summary", "book"):
        annotation = JobItem.model_fields[name].annotation
        model = getattr(annotation, "__args__", (annotation,))[0]
        assert set(leaves(model, name)) <= known


@pytest.mark.parametrize(
    "field",
    [
        *FIELDS,
        find_field("tags.x"),
        find_field("spec.optimizer.lr"),
        find_field("spec.network.layers.0"),
        find_field('metrics."train/f1".last'),
    ],
    ids=str,
)
def test_every_field_has_a_place_in_the_tables(field: Field) -> None:
    for expression in (column_of(field), sortable(field)):
        assert str(expression.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def test_bare_loss_is_that_of_the_newest_row() -> None:
    assert find_field("loss") == find_field("latest.loss")
    assert find_field("spec.tags.x") == find_field("tags.x")


def test_an_order_is_fields_each_up_or_down() -> None:
    orders = parse_orders('summary.best_loss, -tags."a,b" ,+state')
    assert [(str(each.field), each.descending) for each in orders] == [
        ("summary.best_loss", False),
        ('tags."a,b"', True),
        ("state", False),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "fields are expected"),
        ("name,", "fields are expected"),
        ("name desc", "fields are expected"),
        ("nam", "did you mean name?"),
        ("name,-name", "each field once"),
        ("name,state,queue,project,priority", "at most 4"),
    ],
)
def test_what_is_no_order_is_refused(text: str, said: str) -> None:
    with pytest.raises(OrderInvalid, match=said.replace("?", r"\?")):
        parse_orders(text)


@pytest.mark.parametrize("text", ["", "-name", "name,state", "1", "spec.optimiser"])
def test_a_group_is_one_field(text: str) -> None:
    with pytest.raises(OrderInvalid):
        parse_group(text)


def test_a_path_that_no_job_has_is_unknown() -> None:
    with pytest.raises(FieldUnknown):
        find_field("progress")
