"""Code of a team's own against what workers offer: a misspelt name is told at submit."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Text, case, cast, func, select

from models.domain.errors import Breach
from models.domain.offers import ANYTHING
from models.domain.spec.entrypoint import package_of
from models.tables import workers
from services.fleet import fresh

MOST_NAMED = 20
"""Packages that a refusal lists."""


def not_offered(connection: Connection, entrypoints: Mapping[str, str]) -> list[Breach]:
    """What is wrong with entry points, by the part of the spec that each makes.

    They are in order where one worker that was seen lately offers all of them: it defines each,
    or can't tell. Whether a name can be called, the trainer finds out.
    """
    if not entrypoints:
        return []
    packages = {package_of(name) for name in entrypoints.values()}
    found = connection.execute(
        select(*(_names_at(name) for name in entrypoints.values()))
        .where(fresh(), workers.c.packages.contains(cast(sorted(packages), ARRAY(Text))))
        .distinct()
    ).all()
    if not found:
        return list(_packages_missing(connection, entrypoints))
    known = [list(map(_defines, row, entrypoints.values())) for row in found]
    if any(all(each) for each in known):
        return []
    anywhere = [any(each) for each in zip(*known, strict=True)]
    if all(anywhere):
        return [Breach((next(iter(entrypoints)), "entrypoint"), _TOGETHER)]
    return [
        Breach((place, "entrypoint"), _unknown(connection, name))
        for (place, name), there in zip(entrypoints.items(), anywhere, strict=True)
        if not there
    ]


def _names_at(name: str) -> ColumnElement[Any]:
    """The names that the entry point's module defines: a list, ANYTHING, or null."""
    package, module = package_of(name), name.partition(":")[0]
    modules = workers.c.entrypoints[package, "modules"]
    return case((modules.astext == ANYTHING, modules), else_=modules[module])


def _defines(names: object, name: str) -> bool:
    defined = names if isinstance(names, list) else []
    return names == ANYTHING or name.partition(":")[2] in defined


def _packages_missing(connection: Connection, entrypoints: Mapping[str, str]) -> Iterator[Breach]:
    """Whose packages no worker offers; or, where each has one that does, that none has all."""
    query = select(func.unnest(workers.c.packages)).where(fresh()).distinct()
    offered = sorted(connection.scalars(query))
    missing = {place: package_of(name) for place, name in entrypoints.items()}
    missing = {place: package for place, package in missing.items() if package not in offered}
    for place, package in missing.items():
        yield Breach((place, "entrypoint"), _no_package(package, offered))
    if not missing:
        yield Breach((next(iter(entrypoints)), "entrypoint"), _TOGETHER)


_TOGETHER = "no one worker offers all the code that this spec names"


def _no_package(package: str, offered: Sequence[str]) -> str:
    facts = f"no worker lets a job name code of {package}"
    meant = get_close_matches(package, offered, n=1)
    if meant:
        return f"{facts}: did you mean {meant[0]}?"
    if not offered:
        return f"{facts}, nor of any package: GRADBOOK_ENTRYPOINTS of a worker lists those"
    return f"{facts}: there are {', '.join(offered[:MOST_NAMED])}"


def _unknown(connection: Connection, name: str) -> str:
    """What to say of a name that no worker's package defines, with the nearest that one does."""
    package, (module, _, _) = package_of(name), name.partition(":")
    found = connection.scalars(
        select(workers.c.entrypoints[package, "modules"])
        .where(fresh(), workers.c.packages.contains(cast([package], ARRAY(Text))))
        .order_by(workers.c.name)
        .limit(1)
    ).first()
    modules = found if isinstance(found, dict) else {}
    known = [f"{each}:{one}" for each, names in modules.items() for one in _listed(names)]
    facts = f"{module} does not define {name.partition(':')[2]}"
    if module not in modules:
        facts = f"{package} has no module {module}"
    meant = get_close_matches(name, known, n=1)
    return f"{facts}: did you mean {meant[0]}?" if meant else f"{facts}, as far as workers have it"


def _listed(names: object) -> list[str]:
    return names if isinstance(names, list) else []
