"""The API's process never loads torch, no process of ours loads CUDA by an import, and no request
takes a thread for nothing.
"""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from api.main import create_app
from foundation.settings import Settings
from tests.architecture.sources import ROOT

HEAVY = ("torch", "sklearn", "worker")


@pytest.mark.parametrize("module", ["api.main", "cli.main"])
def test_importing_the_module_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_building_the_app_and_its_document_loads_no_torch() -> None:
    code = (
        "import sys; from api.main import create_app; from foundation.settings import Settings; "
        "create_app(Settings()).openapi(); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"


# What takes long for its own sake leaves the event loop to others: a hundred specs to check.
IN_A_THREAD = {"batch"}


def test_no_dependency_takes_a_thread_for_nothing() -> None:
    """FastAPI sends what is not async to a thread and back, at the cost of a small statement."""
    routes = list(_api_routes(create_app(Settings()).routes))
    assert len(routes) > 30
    sync = {
        getattr(call, "__name__", str(call))
        for route in routes
        for call in _calls(route.dependant)
        if not (inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call))
    }
    assert sync == IN_A_THREAD


def _api_routes(routes: Iterable[object]) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        # A router that was included keeps its routes for itself.
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _api_routes(included.routes)


def _calls(dependant: Dependant) -> Iterator[Callable[..., object]]:
    for dependency in dependant.dependencies:
        if dependency.call is not None:
            yield dependency.call
        yield from _calls(dependency)
