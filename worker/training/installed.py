"""Packages as they are installed: their modules, version and source. None is imported."""

import hashlib
import importlib.machinery
import importlib.util
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

_EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES)


def modules_of(package: str) -> Iterator[tuple[str, Path]]:
    """The modules of a package by their names, each with its file; none where it is not there."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield package, Path(spec.origin)
        return
    for folder in spec.submodule_search_locations:
        yield from _modules_below(package, Path(folder))


def version_of(package: str) -> str | None:
    """The version of the distribution that brought the package; None where none did."""
    try:
        return version(next(iter(packages_distributions().get(package, [package]))))
    except PackageNotFoundError:
        return None


def source_sha256(package: str) -> str:
    """Hash the package's Python files, by their names and their bytes."""
    digest = hashlib.sha256()
    for module, file in modules_of(package):
        if file.suffix == ".py":
            digest.update(f"{module}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _modules_below(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier())
        above = (package, *Path(place).relative_to(folder).parts)
        for file in sorted(files):
            name = file.partition(".")[0]
            if name.isidentifier() and file.endswith((".py", *_EXTENSIONS)):
                own = above if name == "__init__" else (*above, name)
                yield ".".join(own), Path(place, file)
