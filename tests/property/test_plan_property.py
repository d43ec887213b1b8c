"""The plan's arithmetic, against counting slices one by one."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from models.domain.plan import Plan, make_plan
from models.domain.spec import parse_spec, resolve

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Drawn:
    samples: int
    tests: int
    batch_size: int
    drop_last: bool
    epochs: int
    validation: int
    evaluated: int | None

    @property
    def left(self) -> int:
        return self.samples - self.validation

    def spec(self, **changes: object) -> dict[str, Any]:
        dataset = {
            "name": "synthetic",
            "shape": [3],
            "classes": 2,
            "train_samples": self.samples,
            "test_samples": self.tests,
            "validation": self.validation,
        }
        return {
            "dataset": dataset,
            "network": {"name": "linear"},
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "epochs": self.epochs,
            "evaluate": {"batch_size": self.evaluated},
        } | changes


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    samples = draw(st.integers(1, 400))
    validation = draw(st.one_of(st.just(0), st.integers(0, samples - 1)))
    return Drawn(
        samples=samples,
        tests=draw(st.integers(1, 100)),
        batch_size=draw(st.integers(1, samples - validation)),
        drop_last=draw(st.booleans()),
        epochs=draw(st.integers(1, 5)),
        validation=validation,
        evaluated=draw(st.none() | st.integers(1, 500)),
    )


def plan(raw: dict[str, Any]) -> Plan:
    return make_plan(parse_spec(raw))


def slices(samples: int, size: int) -> list[int]:
    order = list(range(samples))
    return [len(order[start : start + size]) for start in range(0, samples, size)]


@given(drawn())
def test_the_plan_is_what_counting_gives(case: Drawn) -> None:
    planned = plan(case.spec())
    batches = slices(case.left, case.batch_size)
    if case.drop_last:
        batches = [size for size in batches if size == case.batch_size]
    updates = sum(1 for _ in range(case.epochs) for _ in batches)
    evaluated = case.evaluated or case.batch_size
    assert planned.train_samples == case.left
    assert planned.validation_samples == case.validation
    assert planned.batches_per_epoch == len(batches)
    assert planned.last_batch_size == batches[-1]
    assert planned.iterations_total == planned.weight_updates == updates
    assert planned.test_batches == len(slices(case.tests, evaluated))
    assert planned.validation_batches == len(slices(case.validation, evaluated))


@given(drawn())
def test_the_formula_holds_the_plan_s_own_numbers(case: Drawn) -> None:
    planned = plan(case.spec())
    product, once, total = planned.formula.split(" = ")
    epochs, per_epoch = (int(part.replace(",", "")) for part in once.split(f" {TIMES} "))
    assert (epochs, per_epoch) == (case.epochs, planned.batches_per_epoch)
    assert int(total.replace(",", "")) == planned.iterations_total
    rounding = "floor" if case.drop_last else "ceil"
    assert product == f"{case.epochs:,} {TIMES} {rounding}({case.left:,} / {case.batch_size:,})"


@given(drawn())
def test_a_full_batch_is_batch_gradient_descent(case: Drawn) -> None:
    planned = plan(case.spec(batch_size="full"))
    assert planned.gradient_descent == "batch"
    assert (planned.batch_size, planned.batches_per_epoch) == (case.left, 1)


@given(drawn())
def test_a_batch_of_one_is_stochastic_unless_it_is_everything(case: Drawn) -> None:
    assume(case.left > 1)
    planned = plan(case.spec(batch_size=1))
    assert planned.gradient_descent == "stochastic"
    assert planned.batches_per_epoch == case.left


@given(st.integers(1, 400), st.integers(0, 999))
def test_a_validation_fraction_rounds_down(samples: int, thousandths: int) -> None:
    held_out = math.floor(Fraction(thousandths, 1000) * samples)
    case = Drawn(samples, 1, 1, drop_last=False, epochs=1, validation=0, evaluated=None)
    raw = case.spec()
    raw["dataset"]["validation"] = thousandths / 1000
    planned = plan(raw)
    assert planned.validation_samples == held_out
    assert planned.train_samples == samples - held_out


@given(drawn())
def test_a_resolved_spec_resolves_to_itself_and_has_the_same_plan(case: Drawn) -> None:
    spec = parse_spec(case.spec())
    again = parse_spec(resolve(spec))
    assert resolve(again) == resolve(spec)
    assert make_plan(again) == make_plan(spec)
