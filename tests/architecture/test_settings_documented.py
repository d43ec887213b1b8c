"""docs/settings.md and foundation/settings.py say the same, and every name works."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from foundation.settings import Settings
from tests.architecture.sources import ROOT, name_of, python_files

PAGE = ROOT / "docs" / "settings.md"
ROW = re.compile(r"^\| `(GRADBOOK_[A-Z_]+)` \| (.*?) \| (.+?) \|$", re.MULTILINE)
NAME = re.compile(r"\bGRADBOOK_[A-Z][A-Z_]*[A-Z]\b")


class Setting(NamedTuple):
    name: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def default(self) -> str:
        """As the page writes it."""
        value = self.field.default
        return (
            "unset"
            if value is None
            else f"`{json.dumps(value) if isinstance(value, bool) else value}`"
        )

    @property
    def sample(self) -> str:
        """A value that is not the default."""
        numbers = {int: "7", float: "7.5", bool: "true"}
        by_name = {"slots": "7", "memory_bytes": "7", "after_days": "7.5"}
        return numbers.get(type(self.field.default), by_name.get(self.path[-1], "sample"))


def _settings(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, (*path, name))
        else:
            parts = (*path, name)
            yield Setting("GRADBOOK_" + "_".join(parts).upper(), parts, field)


SETTINGS = list(_settings(Settings))


def _documented() -> dict[str, tuple[str, str]]:
    rows = ROW.findall(PAGE.read_text())
    return {name: (default, description) for name, default, description in rows}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_default(setting: Setting) -> None:
    default, description = _documented()[setting.name]
    assert default == setting.default
    assert description == setting.field.description


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_documented_name_sets_its_setting(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting.name, setting.sample)
    value: Any = Settings()
    for part in setting.path:
        value = getattr(value, part)
    read = value.get_secret_value() if isinstance(value, SecretStr) else value
    assert str(read).lower() == setting.sample


def test_the_page_names_no_setting_that_is_not_there() -> None:
    process_settings = {setting.name for setting in SETTINGS}
    assert set(_documented()) - process_settings == set(_names_read_elsewhere())


def _names_read_elsewhere() -> set[str]:
    """Names that the sources speak of and that are no field of Settings: the client's."""
    read: set[str] = set()
    for path in python_files():
        if not name_of(path).startswith(("tests/", "benchmarks/")):
            read.update(NAME.findall(path.read_text()))
    return read - {setting.name for setting in SETTINGS}
