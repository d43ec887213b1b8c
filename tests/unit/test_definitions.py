"""What a module defines, told from its text."""

import pytest

from worker.definitions import defined_in


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
    found = defined_in(text.encode(), {"team", "other"})
    assert found is not None
    assert set(found) == set(names)


@pytest.mark.parametrize(
    "text",
    [
        "from .nets import *",
        "from team import *",
        "def __getattr__(name): ...",
        "if x:\n  from . import *",
    ],
)
def test_what_only_a_run_can_tell_is_anything(text: str) -> None:
    assert defined_in(text.encode(), {"team"}) is None


def test_what_is_imported_from_a_package_off_the_list_is_not_offered() -> None:
    text = b"from subprocess import run\nfrom torchvision.models import resnet18"
    assert defined_in(text, {"team"}) == ()
    assert defined_in(text, {"team", "torchvision"}) == ("resnet18",)
