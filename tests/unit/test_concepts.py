"""docs/concepts.md: every number in it is computed here, from the plan or by training again."""

# ruff: noqa: RUF001 - the page writes its products as people do

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Wish
from models.domain.metrics import MetricKind
from models.domain.plan import Plan, make_plan
from models.domain.spec import parse_spec, resolve
from models.rows import Rows
from tests.architecture.sources import ROOT
from worker.training.sink import TrainRequest
from worker.training.trainer import train

PAGE = (ROOT / "docs" / "concepts.md").read_text()
FLAT = " ".join(PAGE.split())
CIFAR10 = {"dataset": {"name": "cifar10"}, "network": {"name": "lenet5"}, "epochs": 10}
JOB: dict[str, Any] = json.loads(PAGE.split("```json\n")[1].split("```")[0])

Table = list[dict[str, str]]


def _plan(**fields: object) -> Plan:
    return make_plan(parse_spec({**CIFAR10, **fields}))


def _number(words: str) -> float:
    return float(words.replace(",", ""))


def _tables() -> Iterator[Table]:
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        head, _, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        yield [dict(zip(head, row, strict=True)) for row in rows]


def _table(*columns: str) -> Table:
    (found,) = [table for table in _tables() if set(columns) <= set(table[0])]
    return found


def _numbers(pattern: str) -> list[float]:
    """The groups of the one place on the page that the pattern matches."""
    (found,) = re.finditer(pattern, FLAT)
    return [_number(group) for group in found.groups()]


def test_an_epoch_of_cifar_10_is_as_the_page_says() -> None:
    plan = _plan(batch_size=256)
    samples, size, batches, full, rest = _numbers(
        r"N = ([\d,]+) training samples\. With B = (\d+) an epoch takes (\d+) batches: (\d+) full "
        r"ones, and a last one that holds the (\d+) samples"
    )
    assert (samples, size, batches) == (plan.train_samples, 256, plan.batches_per_epoch)
    assert (full, rest) == (plan.batches_per_epoch - 1, plan.last_batch_size)
    each, epochs, total = _numbers(
        r"That is (\d+) iterations an epoch, and in (\d+) epochs ([\d,]+)"
    )
    assert (each, epochs, total) == (plan.batches_per_epoch, plan.epochs, plan.iterations_total)


def test_what_drop_last_leaves_out_is_as_the_page_says() -> None:
    plan = _plan(batch_size=256, drop_last=True)
    each, total = _numbers(r"is left out: (\d+) iterations an epoch, ([\d,]+) updates")
    assert (each, total) == (plan.batches_per_epoch, plan.iterations_total)


def test_the_words_stand_with_their_names_in_chinese() -> None:
    words = {row["word"]: row["in Chinese"] for row in _table("in Chinese")}
    assert words["batch"] == "一批数据"
    assert words["iteration"] == "一次训练"
    assert words["epoch"] == "一代训练"


def test_the_table_of_the_three_gradient_descents_holds_for_every_size() -> None:
    rows = {row["gradient descent"]: row for row in _table("samples N", "batch size B")}
    assert {
        name: (row["samples N"], row["batch size B"], row["iterations an epoch"])
        for name, row in rows.items()
    } == {
        "batch (BGD)": ("N", "N", "1"),
        "stochastic (SGD)": ("N", "1", "N"),
        "mini-batch": ("N", "B", "N/B + 1"),
    }
    assert _plan(batch_size="full").batches_per_epoch == 1
    assert _plan(batch_size=1).batches_per_epoch == 50_000
    for size in (3, 64, 100, 128, 250, 256, 1_000, 49_999):
        plus = 0 if 50_000 % size == 0 else 1
        assert _plan(batch_size=size).batches_per_epoch == 50_000 // size + plus


def test_the_rows_of_cifar_10_are_the_plans() -> None:
    rows = _table("`batch_size`", "in the last batch")
    assert len(rows) == 4
    for row in rows:
        size: int | str = int(_number(row["`batch_size`"].split()[0]))
        plan = _plan(batch_size="full" if "full" in row["`batch_size`"] else size)
        parts = row["iterations an epoch"].split(" = ")
        assert _number(parts[-1]) == plan.batches_per_epoch
        assert sum(_number(part) for part in parts[0].split(" + ")) == plan.batches_per_epoch
        assert _number(row["in the last batch"]) == plan.last_batch_size
        assert _number(row["weight updates in 10 epochs"]) == plan.weight_updates
        assert row["gradient descent"] == plan.gradient_descent
        assert size == plan.batch_size


def test_the_two_meanings_of_iterations_are_the_plans() -> None:
    plan = _plan(batch_size=256)
    assert _numbers(r"\*\*epoch's\*\* iterations are its batches: (\d+)") == [
        plan.batches_per_epoch
    ]
    assert _numbers(r"weight updates: (\d+) × (\d+) = ([\d,]+)\. In") == [
        plan.epochs,
        plan.batches_per_epoch,
        plan.iterations_total,
    ]
    assert _numbers(r"from 1 to ([\d,]+)") == [plan.iterations_total]


def test_epochs_times_images_by_batch_size_is_not_the_number_of_updates() -> None:
    epochs, images, size, quotient, updates = _numbers(
        r"iterations = epochs × images / batch size = (\d+) × ([\d,]+) / (\d+) = ([\d,.]+) "
        r"That is not ([\d,]+)\."
    )
    assert round(epochs * images / size, 1) == quotient
    assert updates == _plan(batch_size=int(size)).iterations_total != quotient
    assert _numbers(r"its own batch of (\d+)") == [_plan(batch_size=256).last_batch_size]
    epochs, images, size, again, batches, total = _numbers(
        r"(\d+) × ⌈([\d,]+) / (\d+)⌉ = (\d+) × (\d+) = ([\d,]+)\. The two"
    )
    assert (again, batches) == (epochs, math.ceil(images / size))
    assert total == epochs * batches == updates
    epochs, images, size, total = _numbers(r"divides N: (\d+) × ([\d,]+) / (\d+) = ([\d,]+)\.")
    assert total == epochs * images / size == _plan(batch_size=int(size)).iterations_total


def test_a_test_takes_as_many_forward_passes_as_the_page_says() -> None:
    samples, size = _numbers(r"The ([\d,]+) test samples of CIFAR-10 at (\d+) a pass")
    plan = _plan(batch_size=int(size))
    top, bottom, quotient, passes, full, rest = _numbers(
        r"are ([\d,]+) / (\d+) = ([\d.]+), so (\d+) iterations: (\d+) full ones and one of (\d+)"
    )
    assert (samples, top, bottom) == (plan.test_samples, plan.test_samples, size)
    assert round(top / bottom, 1) == quotient
    assert passes == plan.test_batches
    assert full * size + rest == samples


def test_the_rule_of_thumb_is_the_plans_for_every_network_it_names() -> None:
    rows = _table("`suggested_batch_size`")
    assert [row["`suggested_batch_size`"] for row in rows] == ["256", "128", "64"]
    sizes = sorted(_number(row["`suggested_batch_size`"]) for row in rows)
    assert sizes == _numbers(r"come in them: (\d+), (\d+) or (\d+)")
    for row in rows:
        named = re.findall(r"`(\w+)` \(([\d,]+)\)", row["for example, on CIFAR-10"])
        assert named
        for name, parameters in named:
            plan = _plan(network={"name": name})
            assert plan.network.parameters == _number(parameters)
            assert plan.suggested_batch_size == _number(row["`suggested_batch_size`"])
    bounds = [
        int(number) for number in re.findall(r"\d+", " ".join(row["parameters"] for row in rows))
    ]
    assert bounds == [1, 10, 10]


class _Book:
    """A sink that keeps what the page shows."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.readings: dict[int, list[dict[str, Any]]] = {}
        self.iterations = 0

    waited_seconds = 0.0

    def resumed(self, resumed: Resumed) -> None: ...

    def started(self, environment: dict[str, Any]) -> None: ...

    def rows(self, rows: Rows) -> None:
        self.iterations += len(rows)

    def epoch(self, epoch: dict[str, Any]) -> None:
        self.epochs.append(epoch)

    def layers(self, iteration: int, readings: list[dict[str, Any]]) -> None:
        self.readings[iteration] = readings

    def metrics(
        self,
        iteration: int,
        values: Mapping[str, float],
        kind: MetricKind = MetricKind.ITERATION,
    ) -> None: ...

    def phase(self, name: str, epoch: int, batch: int) -> None: ...

    def checkpoint(self, checkpoint: dict[str, Any]) -> None: ...

    def artifact(self, artifact: dict[str, Any]) -> None: ...

    def summary(self, summary: dict[str, Any]) -> None: ...

    def warning(self, message: str, data: dict[str, Any]) -> None: ...


class _Nobody:
    def wanted(self) -> Wish | None:
        return None


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> _Book:
    """The page's job, trained again."""
    folder, spec, made = tmp_path_factory.mktemp("concepts"), parse_spec(JOB), _Book()
    train(
        TrainRequest(
            job_id="concepts",
            spec=resolve(spec),
            plan=make_plan(spec).model_dump(mode="json"),
            attempt=1,
            device="cpu",
            artifacts_url=str(folder / "artifacts"),
            datasets_folder=str(folder / "datasets"),
        ),
        made,
        _Nobody(),
    )
    return made


def _as_printed(measured: float, printed: str) -> bool:
    """Whether the page's digits are the measured ones; another processor may round the last."""
    decimals = len(printed.partition(".")[2])
    return math.isclose(measured, float(printed), rel_tol=0, abs_tol=1.5 * 10**-decimals)


def test_the_epochs_of_the_real_job_are_as_printed(book: _Book) -> None:
    rows = _table("`train_loss`", "`weight_change`")
    assert [int(row["epoch"]) for row in rows] == [epoch["epoch"] for epoch in book.epochs]
    for row, epoch in zip(rows, book.epochs, strict=True):
        for name in ("train_loss", "weight_change", "weight_norm", "test_accuracy"):
            printed = row[f"`{name}`"]
            assert _as_printed(epoch[name], printed), (name, epoch[name], printed)


def test_the_weights_move_less_in_epoch_10_than_in_epoch_1(book: _Book) -> None:
    first, last = book.epochs[0], book.epochs[9]
    assert last["samples"] == first["samples"]
    assert _numbers(r"shows the network the same ([\d,]+)") == [_plan().train_samples]
    assert last["weight_change"] < first["weight_change"] / 10
    assert last["train_loss"] < first["train_loss"] / 10


def test_the_layers_of_the_real_job_are_as_printed(book: _Book) -> None:
    rows = _table("`error_norm`", "`error_share`")
    assert len(rows) == 2 * len(JOB["network"]["layers"])
    for row in rows:
        readings = book.readings[int(row["iteration"])]
        (reading,) = [one for one in readings if f"`{one['layer']}`" == row["layer"]]
        share = reading["error_norm"] / sum(one["error_norm"] for one in readings)
        assert _as_printed(reading["error_norm"], row["`error_norm`"])
        assert _as_printed(share, row["`error_share`"])
        if row["`grad_norm`"] == "null":
            assert reading["grad_norm"] is None
        else:
            assert _as_printed(reading["grad_norm"], row["`grad_norm`"])


def test_every_iteration_of_the_real_job_was_delivered(book: _Book) -> None:
    assert _numbers(r"All ([\d,]+) iterations are in the book") == [book.iterations]
    assert _numbers(r"the ([\d,]+) handwritten digits") == [book.epochs[0]["samples"]]
    assert book.iterations == make_plan(parse_spec(JOB)).iterations_total


def test_the_page_tells_the_five_steps() -> None:
    section = PAGE.split("## Training in five steps")[1].split("\n## ")[0]
    steps = re.findall(r"^(\d)\. .*?\*\*(\w+)\*\*", section.replace("\n   ", " "), re.MULTILINE)
    assert steps == [
        ("1", "initialised"),
        ("2", "forward"),
        ("3", "loss"),
        ("4", "backward"),
        ("5", "updated"),
    ]
