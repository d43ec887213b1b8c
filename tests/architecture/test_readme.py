"""README.md: its tree is the house, its links lead somewhere, its commands are there."""

import re
from pathlib import Path

from tests.architecture.sources import ROOMS, ROOT, name_of, tracked_files

README = (ROOT / "README.md").read_text()
TREE = README.split("<!-- tree -->")[1].split("```")[1].removeprefix("text\n")
LINE = re.compile(r"^( *)(\S+)  +(\S.*)$")
LINK = re.compile(r"\]\(([^)#:]+)\)")
SHOWN = (*ROOMS, "benchmarks", "docs", "examples")
NEEDS_NO_CAPTION = {"__init__.py", "script.py.mako"}


def _entries() -> dict[str, str]:
    """Path to caption, for every line of the tree."""
    entries, folder = {}, ""
    for line in TREE.splitlines():
        match = LINE.match(line)
        assert match, f"no caption: {line}"
        indent, name, caption = match.groups()
        if not indent:
            folder = name if name.endswith("/") else ""
        entries[(folder if indent else "") + name] = caption
    return entries


def test_every_name_of_the_tree_exists() -> None:
    entries = _entries()
    assert [name for name in entries if not (ROOT / name).exists()] == []
    assert [name for name in entries if name.endswith("/") != (ROOT / name).is_dir()] == []


def test_every_file_of_the_house_stands_in_the_tree() -> None:
    entries = _entries()
    for path in map(name_of, tracked_files()):
        room, _, rest = path.partition("/")
        if room not in SHOWN or rest in NEEDS_NO_CAPTION or rest.endswith("/__init__.py"):
            continue
        inner, _, deeper = rest.partition("/")
        assert f"{room}/{inner}{'/' if deeper else ''}" in entries, path


def test_the_links_of_the_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for link in LINK.findall(page.read_text()):
            assert (page.parent / link).exists(), f"{name_of(page)}: {link}"


def test_the_make_targets_that_the_pages_speak_of_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages: list[Path] = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert {"demo", "up", "check", "help"} <= named <= targets
