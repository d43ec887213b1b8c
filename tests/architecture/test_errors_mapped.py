"""Every error of ours has its own line in the API's table of problems."""

import importlib
import pkgutil
from http import HTTPStatus
from pathlib import Path

import api
import models
import services
from api.problems import PROBLEMS
from models.domain.errors import GradbookError


def _load_everything_the_api_may_raise() -> None:
    for package in (api, models, services):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _descendants(error: type[Exception]) -> set[type[Exception]]:
    below = set(error.__subclasses__())
    return below.union(*(_descendants(child) for child in below))


def test_every_error_is_mapped_to_a_problem() -> None:
    _load_everything_the_api_may_raise()
    errors = {
        error for error in _descendants(GradbookError) if not error.__module__.startswith("tests")
    }
    assert errors - set(PROBLEMS) == set()


def test_no_error_of_ours_but_the_root_and_a_spoilt_file_is_the_services_fault() -> None:
    faults = {
        error.__name__
        for error, kind in PROBLEMS.items()
        if kind.status == HTTPStatus.INTERNAL_SERVER_ERROR
    }
    assert faults == {"GradbookError", "Exception", "ArchiveSpoilt"}


def test_the_tree_at_the_top_of_the_errors_names_every_error_once() -> None:
    module = importlib.import_module("models.domain.errors")
    tree = (module.__doc__ or "").splitlines()
    drawn = [line.split("──")[-1].split()[0] for line in tree if "──" in line]
    written = [
        error.__name__
        for error in _descendants(GradbookError)
        if error.__module__ == module.__name__
    ]
    assert sorted(drawn) == sorted(written), Path(str(module.__file__)).name
