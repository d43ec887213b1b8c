"""From what was sent to a spec, or to every rule that it breaks."""

from pydantic import ValidationError

from models.domain.errors import Breach, SpecInvalid
from models.domain.spec.breaches import breaches_of
from models.domain.spec.job import JobSpec
from models.domain.spec.later import later
from models.domain.spec.scan import scan


def parse_spec(raw: object) -> JobSpec:
    """The spec that `raw`, plain JSON values, describes.

    Rules that need the data set's size or the network's shapes are `make_plan`'s.

    Raises:
        SpecInvalid: with a breach for each broken rule, its place as it was sent.

    """
    if not isinstance(raw, dict):
        raise SpecInvalid([Breach((), "an object is expected")])
    scan(raw)
    coming = later(raw)
    try:
        spec = JobSpec.model_validate(raw)
    except ValidationError as error:
        said = {breach.loc[0] for breach in coming}
        others = [b for b in breaches_of(error) if not b.loc or b.loc[0] not in said]
        raise SpecInvalid([*coming, *others]) from None
    if coming:
        raise SpecInvalid(coming)
    return spec
