"""docker-compose.yml without Docker: its files read as Compose reads them, its services run here.

A service's command, environment and health check are taken from the file as they stand. Only what
Docker itself would provide is put in: addresses for service names, a folder for /data, free ports,
and programs for the two public images, from the wheels.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.architecture.sources import ROOT

VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?])([^}]*))?\}")

# The image's own redis-cli: prints an answer or a refusal, and ends with 0 in both cases.
REDIS_CLI = """\
#!{python}
import os, sys, redis
port, *words = sys.argv[sys.argv.index("-p") + 1:]
client = redis.Redis(port=int(port), password=os.environ.get("REDISCLI_AUTH"))
try:
    answer = client.execute_command(*words)
    print("PONG" if answer is True else answer)
except redis.RedisError as refusal:
    print(refusal)
"""


def _as_a_word(text: str) -> str:
    before = r"(?<!\w)" if text[0].isalnum() else ""
    return f"{before}{re.escape(text)}(?!\\w)"


class VariableMissing(Exception):
    """A `${NAME:?why}` has no value."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into a string by Compose's rules.

    Raises:
        VariableMissing: one that must be set is not.

    """

    def value(match: re.Match[str]) -> str:
        name, rule, word = match.groups()
        given = variables.get(name)
        absent = given is None or (bool(rule) and rule.startswith(":") and not given)
        if absent and rule and rule.endswith("?"):
            raise VariableMissing(f"{name}: {word}")
        return (word or "") if absent and rule else (given or "")

    return VARIABLE.sub(value, text).replace("$$", "$")


def read(name: str, variables: Mapping[str, str] | None) -> dict[str, Any]:
    """A file of ours, with its variables put in; as it is written where they are None."""

    def fill(node: Any) -> Any:  # noqa: ANN401 - a YAML tree
        if isinstance(node, dict):
            return {key: fill(value) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        return (
            interpolate(node, variables)
            if variables is not None and isinstance(node, str)
            else node
        )

    document: dict[str, Any] = fill(yaml.safe_load((ROOT / name).read_text()))
    return document


def seconds(duration: str) -> float:
    """Read Compose's way to write a time, as far as our files use it."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration or "").groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "m": 60}[unit]


class Translation:
    """What Docker would provide: replaced wherever the file's text names it.

    In one pass and as whole words only: a password, which is drawn by lot, may hold a port's
    digits, and so may the port that stands for another.
    """

    def __init__(self, programs: Path, replaced: Mapping[str, str]) -> None:
        self.programs, self.replaced = programs, replaced
        self._named = re.compile("|".join(_as_a_word(ours) for ours in replaced))

    def text(self, text: str) -> str:
        return self._named.sub(lambda match: self.replaced[match[0]], text)

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if "GRADBOOK" not in name}
        path = os.pathsep.join(
            [str(self.programs), str(Path(sys.executable).parent), clean["PATH"]]
        )
        own = {
            name: self.text(str(value)) for name, value in service.get("environment", {}).items()
        }
        return clean | own | {"PATH": path}

    def start(self, service: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [self.text(word) for word in service["command"]],
                env=self.environment(service),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def is_healthy(self, service: Mapping[str, Any]) -> bool:
        kind, *words = [self.text(word) for word in service["healthcheck"]["test"]]
        command = words if kind == "CMD" else ["sh", "-c", *words]
        result = subprocess.run(
            command,
            env=self.environment(service),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return result.returncode == 0


def write_programs(folder: Path, postgres: Path, valkey: Path) -> Path:
    """The programs that the images `postgres` and `redis` bring, under their names."""
    folder.mkdir()
    (folder / "pg_isready").symlink_to(postgres / "pg_isready")
    (folder / "redis-server").symlink_to(valkey)
    client = folder / "redis-cli"
    client.write_text(REDIS_CLI.format(python=sys.executable))
    client.chmod(0o755)
    return folder
