"""From what was sent to a spec, or to every rule that it breaks."""

from typing import TypeVar

from pydantic import ValidationError

from models.domain.errors import Breach, SpecInvalid
from models.domain.spec.breaches import breaches_of
from models.domain.spec.heading import Heading
from models.domain.spec.job import JobSpec
from models.domain.spec.later import later
from models.domain.spec.program import ProgramSpec
from models.domain.spec.scan import scan

Spec = TypeVar("Spec", bound=Heading)


def parse_job(raw: object) -> JobSpec | ProgramSpec:
    """The spec of a job that `raw`, plain JSON values, describes: a program has a `program`.

    Raises:
        SpecInvalid: as `parse_spec`.

    """
    if isinstance(raw, dict) and "program" in raw:
        return _parse(ProgramSpec, raw)
    return parse_spec(raw)


def parse_spec(raw: object) -> JobSpec:
    """The spec of a training that `raw`, plain JSON values, describes.

    Rules that need the data set's size or the network's shapes are `make_plan`'s.

    Raises:
        SpecInvalid: with a breach for each broken rule, its place as it was sent.

    """
    return _parse(JobSpec, raw)


def _parse(kind: type[Spec], raw: object) -> Spec:
    if not isinstance(raw, dict):
        raise SpecInvalid([Breach((), "an object is expected")])
    scan(raw)
    coming = later(raw)
    try:
        spec = kind.model_validate(raw)
    except ValidationError as error:
        said = {breach.loc[0] for breach in coming}
        others = [b for b in breaches_of(error, kind) if not b.loc or b.loc[0] not in said]
        raise SpecInvalid([*coming, *others]) from None
    if coming:
        raise SpecInvalid(coming)
    return spec
