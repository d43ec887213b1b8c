"""Code of a team's own, called in the trainer's process and nowhere else."""

import importlib
import inspect
from collections.abc import Collection, Mapping
from typing import Any

from models.domain.entrypoints import packages_in
from models.domain.spec.entrypoint import package_of
from worker.training.errors import EntryPointMissing, EntryPointRefused, EntryPointUnfit
from worker.training.installed import source_sha256, version_of


def make(part: Mapping[str, Any], packages: Collection[str], *given: Any, **more: Any) -> Any:  # noqa: ANN401 - anything
    """Call the entry point of a spec's part with its options.

    Args:
        part: with `entrypoint` and `options`.
        packages: those whose code may be called.
        given: what it is called with, before the options.
        more: by name, beside the options.

    Raises:
        EntryPointRefused, EntryPointMissing, EntryPointUnfit: as their names say.
        BaseException: whatever its code raises.

    """
    return find(part["entrypoint"], packages)(*given, **more, **part["options"])


def find(name: str, packages: Collection[str]) -> Any:  # noqa: ANN401 - a callable of somebody's
    """Import what an entry point names.

    A function or a class must be one of the packages' own, wherever it was found: what a module
    has imported from elsewhere is not on the list.
    """
    module, _, attribute = name.partition(":")
    _require_listed(name, package_of(name), packages)
    try:
        holder = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise EntryPointMissing(name, f"there is no module {error.name} here") from error
    found = getattr(holder, attribute, None)
    if found is None:
        raise EntryPointMissing(name, f"{module} has no {attribute} here")
    if inspect.isroutine(found) or inspect.isclass(found):
        home = getattr(found, "__module__", None) or "another package"
        _require_listed(name, home.partition(".")[0], packages)
    if not callable(found):
        raise EntryPointUnfit(name, f"a {type(found).__name__} can't be called")
    return found


def describe(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Which code a spec names: what is not in the spec itself, and decides the bits."""
    return {
        package: {"version": version_of(package), "sha256": source_sha256(package)}
        for package in packages_in(spec)
    }


def _require_listed(name: str, package: str, packages: Collection[str]) -> None:
    if package not in packages:
        raise EntryPointRefused(name, f"{package} is not on this worker's list of packages")
