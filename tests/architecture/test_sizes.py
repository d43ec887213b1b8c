"""A file is one noun, a function is one screen: no giants."""

import ast

import pytest

from tests.architecture.sources import name_of, python_files

MOST_LINES_A_FILE = 400
MOST_LINES_A_FUNCTION = 60
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "base", "misc", "common"}


def _long_functions(source: str, most: int) -> list[str]:
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    return [f"{name}: {length} lines" for name, length in lengths if length > most]


def test_no_file_is_a_giant() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_A_FILE} == {}


def test_no_function_is_a_giant() -> None:
    long = {
        name_of(path): _long_functions(path.read_text(), MOST_LINES_A_FUNCTION)
        for path in python_files()
    }
    assert {name: functions for name, functions in long.items() if functions} == {}


def test_modules_are_named_by_what_they_are() -> None:
    named = [name_of(path) for path in python_files()]
    assert [
        n for n in named if n.rsplit("/")[-1].removesuffix(".py") in NAMES_THAT_SAY_NOTHING
    ] == []


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_function_of_sixty_one_lines_is_found(kind: str) -> None:
    source = f"{kind} long():\n" + "    pass\n" * MOST_LINES_A_FUNCTION
    assert _long_functions(source, MOST_LINES_A_FUNCTION) == ["long: 61 lines"]
