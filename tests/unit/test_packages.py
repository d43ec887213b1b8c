"""What a worker offers of the packages on its list, found without running them."""

from pathlib import Path
from typing import Any

import pytest

from models.domain.offers import Offer, plain
from tests.installed import write_package
from worker.packages import MOST_MODULE_BYTES, MOST_NAMES, offers_of, require_offered
from worker.training.errors import EntryPointMissing, EntryPointRefused, TrainingError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_is_offered_by_its_modules_and_none_of_it_runs(folder: Path) -> None:
    boom = "raise SystemExit('it ran')\ndef build(): ..."
    write_package(folder, "team_one", init=boom, nets=boom, empty="", broken="def (")
    write_package(folder / "team_one", "inner", deep="class Net: ...")
    (folder / "team_one" / "not a module.py").write_text("def no(): ...")
    (folder / "team_one" / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    (folder / "alone.py").write_text("def build(): ...")
    offers = offers_of(["team_one", "alone", "absent"])
    assert set(offers) == {"team_one", "alone"}
    assert offers["team_one"].modules == {
        "team_one": ("build",),
        "team_one.broken": (),
        "team_one.empty": (),
        "team_one.fast": None,
        "team_one.nets": ("build",),
        "team_one.inner": (),
        "team_one.inner.deep": ("Net",),
    }
    assert plain(offers)["alone"] == {"version": None, "modules": {"alone": ["build"]}}
    assert plain(offers)["team_one"]["modules"]["team_one.fast"] == "*"


def test_what_a_module_takes_over_whole_is_its_own(folder: Path) -> None:
    write_package(
        folder,
        "team_star",
        init="from .nets import *\nfrom .more import *\nfrom team_other import *",
        nets="def build(): ...\nfrom . import *",
        more="from team_star.nets import *\nfrom subprocess import *\nclass Net: ...",
        opened="from .fast import *\ndef build(): ...",
        fast="def __getattr__(name): ...",
    )
    modules = offers_of(["team_star"])["team_star"].modules
    assert modules is not None
    assert modules["team_star"] == modules["team_star.nets"] == ("Net", "build")
    assert modules["team_star.more"] == ("Net", "build")
    assert modules["team_star.opened"] is None
    # Another package of the list has its own files: what it defines is not looked up.
    assert (offers_of(["team_star", "team_other"])["team_star"].modules or {})["team_star"] is None


def test_an_installed_package_has_its_version(team_vision: Path) -> None:
    del team_vision
    offer = offers_of(["team_vision"])["team_vision"]
    assert offer.version == "1.2.0"
    assert offer.modules is not None
    assert offer.modules["team_vision.nets"] == ("Block", "build")


def test_of_what_is_too_much_nothing_but_its_name_is_told(folder: Path) -> None:
    many = "\n".join(f"def f{number}(): ..." for number in range(MOST_NAMES + 1))
    write_package(folder, "team_many", many=many)
    assert offers_of(["team_many"])["team_many"] == Offer(None, None)
    write_package(folder, "team_long", long="def f(): ...\n#" + " " * MOST_MODULE_BYTES)
    modules = offers_of(["team_long"])["team_long"].modules
    assert modules == {"team_long": (), "team_long.long": None}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("team_two.nets:build", None),
        ("team_two.open:whatever", None),
        ("team_two.nets:bild", EntryPointMissing),
        ("team_two.nets:run", EntryPointMissing),
        ("team_two.absent:build", EntryPointMissing),
        ("gone.nets:build", EntryPointMissing),
        ("subprocess:run", EntryPointRefused),
        ("other.nets:build", EntryPointRefused),
    ],
)
def test_a_worker_holds_a_spec_to_its_list_and_to_what_is_installed(
    folder: Path, name: str, error: type[TrainingError] | None
) -> None:
    nets = "from subprocess import run\ndef build(): ..."
    write_package(folder, "team_two", nets=nets, open="def __getattr__(name): ...")
    write_package(folder, "other", nets="def build(): ...")
    spec: dict[str, Any] = {"network": {"entrypoint": name, "options": {}}, "loss": {"name": "mse"}}
    if error is None:
        require_offered(spec, ["team_two", "gone"])
        return
    with pytest.raises(error, match=name):
        require_offered(spec, ["team_two", "gone"])
