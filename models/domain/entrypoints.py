"""Which code of a team's own a spec names."""

from collections.abc import Mapping
from typing import Any, Final

from models.domain.spec.entrypoint import package_of

PLACES: Final = ("dataset", "network", "loss", "optimizer", "program")
"""Parts of a spec that may be a team's own."""


def entrypoints_in(spec: Mapping[str, Any]) -> dict[str, str]:
    """The entry points of a resolved spec, by the part that each of them makes."""
    parts = {place: spec.get(place) for place in PLACES}
    return {
        place: part["entrypoint"]
        for place, part in parts.items()
        if isinstance(part, Mapping) and "entrypoint" in part
    }


def packages_in(spec: Mapping[str, Any]) -> list[str]:
    """The packages that a resolved spec needs, sorted."""
    return sorted({package_of(name) for name in entrypoints_in(spec).values()})
