"""What a module defines, told from its text."""

import pytest

from worker.definitions import definitions_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def build(): ...", ("build",)),
        ("class Net: ...\nclass _Hidden: ...\ndef __dir__(): ...", ("Net",)),
        ("from functools import partial\nbuild = partial(int, base=2)", ("build",)),
        ("a = b = make()\nc: object = make()\nd: int", ("a", "b", "c")),
        ("SIZE = 3\nNAMES = ['a']\nTABLE = {}\nTEXT: str = 'x'\nPAIR = (1, 2)", ()),
        ("import os\nfrom os import system\nfrom subprocess import *", ()),
        ("from . import nets\nfrom .nets import build as make", ("make", "nets")),
        ("from team.nets import build\nfrom other.nets import Net", ("build", "Net")),
        ("if True:\n    def a(): ...\nelse:\n    def b(): ...", ("a", "b")),
        ("try:\n    from .fast import f\nexcept ImportError:\n    def g(): ...", ("f", "g")),
        ("try: ...\nexcept E: ...\nelse:\n    def h(): ...", ("h",)),
        ("try: ...\nfinally:\n    with x:\n        def i(): ...", ("i",)),
        ("def outer():\n    def inner(): ...", ("outer",)),
        ("async def later(): ...", ()),
        ("this is no python", ()),
        ("\0", ()),
    ],
)
def test_what_a_module_defines_is_its_own(text: str, names: tuple[str, ...]) -> None:
    found = definitions_in(text.encode(), {"team", "other"}, "team.some")
    assert found.names == set(names)
    assert not found.stars
    assert not found.anything


@pytest.mark.parametrize(
    ("text", "module", "package", "stars"),
    [
        ("from .nets import *", "team.some", False, ("team.nets",)),
        ("from .nets import *", "team.some", True, ("team.some.nets",)),
        ("from ..nets import *", "team.some.deep", False, ("team.nets",)),
        ("from . import *", "team.some", False, ("team",)),
        ("from team.nets import *", "team", True, ("team.nets",)),
        ("if x:\n    from .a import *\nfrom .b import *", "team", True, ("team.a", "team.b")),
        ("from subprocess import *", "team", True, ()),
    ],
)
def test_what_is_taken_over_whole_is_named_by_its_module(
    text: str, module: str, package: object, stars: tuple[str, ...]
) -> None:
    found = definitions_in(text.encode(), {"team"}, module, package=bool(package))
    assert (found.stars, found.names, found.anything) == (stars, frozenset(), False)


def test_what_only_a_run_can_tell_is_anything() -> None:
    found = definitions_in(b"def build(): ...\ndef __getattr__(name): ...", {"team"}, "team")
    assert found.anything


def test_what_is_imported_from_a_package_off_the_list_is_not_offered() -> None:
    text = b"from subprocess import run\nfrom torchvision.models import resnet18"
    assert not definitions_in(text, {"team"}, "team").names
    assert definitions_in(text, {"team", "torchvision"}, "team").names == {"resnet18"}
