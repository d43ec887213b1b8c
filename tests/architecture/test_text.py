"""What the repository's texts must not say."""

import re

from tests.architecture.sources import name_of, tracked_files

# Absolute places of one machine: somebody's home folder.
PLACES_OF_ONE_MACHINE = re.compile(r"(?<![\w.$}*-])/(?:root|home/\w+|Users/\w+)(?:/|\b(?![-.\w/]))")


def _places(text: str) -> list[str]:
    return PLACES_OF_ONE_MACHINE.findall(text)


def test_no_text_names_a_place_of_the_machine_it_was_written_on() -> None:
    found = {}
    for path in tracked_files():
        if path.suffix in {".safetensors", ".png", ".ico"} or path.name == "test_text.py":
            continue
        if places := _places(path.read_text(encoding="utf-8")):
            found[name_of(path)] = places
    assert found == {}


def test_a_place_of_a_machine_is_found() -> None:
    assert _places("HOME=/root")
    assert _places("/home/ann/gradbook")
    assert not _places("api/home/x, ./home/main.py, $HOME/x, the /roots route")
