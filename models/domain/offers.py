"""What workers let jobs name of installed packages: modules, and the names that each defines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

ANYTHING: Final = "*"
"""In place of names that can't be told without running the code, or that are too many."""

Names = tuple[str, ...] | None
"""Names that a module defines; None is ANYTHING."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A package as a worker has it installed; `modules` is None where it has too many names."""

    version: str | None
    modules: Mapping[str, Names] | None


Offers = Mapping[str, Offer]
"""By the package's name."""


def plain(offers: Offers) -> dict[str, Any]:
    """As the book keeps them: `{"team": {"version": "1", "modules": {"team.nets": ["build"]}}}`."""
    return {
        package: {"version": offer.version, "modules": _plain_modules(offer.modules)}
        for package, offer in offers.items()
    }


def _plain_modules(modules: Mapping[str, Names] | None) -> dict[str, list[str] | str] | str:
    if modules is None:
        return ANYTHING
    return {module: ANYTHING if names is None else list(names) for module, names in modules.items()}
