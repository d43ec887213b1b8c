"""Every setting of every process, read once from `GRADBOOK_…` environment variables.

`GRADBOOK_DATABASE_URL` is `settings.database.url`: the first word after the prefix names the
group. Each field's description is its documentation; docs/settings.md is held against it by a
test.
"""

import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

HOUSE = frozenset({"api", "cli", "foundation", "migrations", "models", "services", "worker"})
"""Our own packages, whose code no job names."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DatabaseSettings(_Group):
    url: Annotated[
        SecretStr | None,
        Field(description="PostgreSQL 16 or newer, `postgresql://user:password@host:port/name`."),
    ] = None
    direct_url: Annotated[
        SecretStr | None,
        Field(
            description="The same database past a pooler, for LISTEN; `GRADBOOK_DATABASE_URL` "
            "where unset."
        ),
    ] = None
    pool_size: Annotated[
        PositiveInt, Field(description="Connections that one process keeps at most.")
    ] = 10
    connect_timeout_seconds: Annotated[
        PositiveInt, Field(description="How long a new connection may take.")
    ] = 3
    statement_timeout_seconds: Annotated[
        PositiveInt, Field(description="How long one statement of the API may take.")
    ] = 30


class BrokerSettings(_Group):
    url: Annotated[
        SecretStr | None,
        Field(description="Redis or Valkey, `redis://:password@host:port/0`."),
    ] = None
    timeout_seconds: Annotated[
        PositiveFloat, Field(description="How long a call to the broker may hang.")
    ] = 2.0


class ArtifactsSettings(_Group):
    url: Annotated[
        str | None,
        Field(
            description="Where jobs' files go: a folder or an fsspec URL such as "
            "`s3://bucket/prefix`; `$GRADBOOK_HOME/artifacts` where unset."
        ),
    ] = None


class ApiSettings(_Group):
    max_body_bytes: Annotated[
        PositiveInt, Field(description="The largest request body that is read.")
    ] = 1_048_576
    threads: Annotated[
        PositiveInt, Field(description="Requests that one API process works on at once.")
    ] = 40
    viewers: Annotated[
        PositiveInt, Field(description="Live streams that one API process serves at once.")
    ] = 5_000
    export_seconds: Annotated[
        PositiveFloat, Field(description="How long one stream of rows may take before it is cut.")
    ] = 600.0
    search_seconds: Annotated[
        PositiveFloat,
        Field(description="How long one statement of a list of jobs may take; then a 503."),
    ] = 5.0


class LimitsSettings(_Group):
    parameters: Annotated[
        PositiveInt, Field(description="The most parameters a network may have.")
    ] = 1_000_000_000
    layers: Annotated[PositiveInt, Field(description="The most layers a network may have.")] = 1_000
    activation_bytes: Annotated[
        PositiveInt,
        Field(description="The most bytes that one pass's activations may need."),
    ] = 64 * 2**30
    dataset_bytes: Annotated[
        PositiveInt, Field(description="The most bytes that a data set's tensors may need.")
    ] = 64 * 2**30


class WorkerSettings(_Group):
    name: Annotated[
        str | None, Field(description="The worker's name; host name and pid where unset.")
    ] = None
    slots: Annotated[
        PositiveInt | None,
        Field(description="Jobs at once; a slot a GPU, or one without a GPU, where unset."),
    ] = None
    queues: Annotated[str, Field(description="Queues it takes jobs from, separated by commas.")] = (
        "default"
    )
    lease_seconds: Annotated[
        PositiveFloat, Field(description="How long an attempt owns its job without a flush.")
    ] = 6.0
    flush_seconds: Annotated[
        PositiveFloat, Field(description="The longest time between two flushes of an attempt.")
    ] = 0.5
    reconcile_seconds: Annotated[
        PositiveFloat, Field(description="How often tickets are compared with queued jobs.")
    ] = 2.0
    stall_seconds: Annotated[
        PositiveFloat,
        Field(description="How long a trainer may report no progress before it is ended."),
    ] = 600.0
    grace_seconds: Annotated[
        PositiveFloat, Field(description="How long a worker's jobs may take to end at a shutdown.")
    ] = 20.0

    stop_seconds: Annotated[
        PositiveFloat,
        Field(description="How long a program may take to end after a stop; then it is ended."),
    ] = 300.0
    memory_bytes: Annotated[
        PositiveInt | None,
        Field(description="The most memory that a trainer's data may take; no limit where unset."),
    ] = None

    @property
    def queue_names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.queues.split(",") if name.strip())


class ArchiveSettings(_Group):
    after_days: Annotated[
        NonNegativeFloat | None,
        Field(description="So many days after its end a job is archived; never where unset."),
    ] = None


class LogSettings(_Group):
    level: Annotated[str, Field(description="debug, info, warning or error.")] = "info"
    json_lines: Annotated[
        bool, Field(description="Log JSON lines even where a terminal is attached.")
    ] = False


class Settings(BaseSettings):
    """All settings; build it once at a process's edge with `Settings()` and hand it on."""

    model_config = SettingsConfigDict(
        env_prefix="GRADBOOK_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
    )

    home: Annotated[
        Path, Field(description="The data folder: embedded servers, data sets, files of jobs.")
    ] = Path(".gradbook")
    entrypoints: Annotated[
        str,
        Field(
            description="Packages whose code a job may name on this worker, separated by commas."
        ),
    ] = ""
    database: DatabaseSettings = DatabaseSettings()
    broker: BrokerSettings = BrokerSettings()
    artifacts: ArtifactsSettings = ArtifactsSettings()
    api: ApiSettings = ApiSettings()
    limits: LimitsSettings = LimitsSettings()
    worker: WorkerSettings = WorkerSettings()
    archive: ArchiveSettings = ArchiveSettings()
    log: LogSettings = LogSettings()

    @field_validator("entrypoints")
    @classmethod
    def _packages_of_a_team(cls, value: str) -> str:
        for name in filter(None, map(str.strip, value.split(","))):
            if not name.isidentifier():
                raise ValueError(f"{name!r} is no name of a top-level package")
            if name in sys.stdlib_module_names or name in HOUSE:
                # A job's options would be an order to the machine: os:system.
                raise ValueError(f"{name!r} is not a team's package")
        return value

    @cached_property
    def entrypoint_packages(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.entrypoints.split(",") if name.strip())

    @cached_property
    def artifacts_url(self) -> str:
        return self.artifacts.url or str(self.home.absolute() / "artifacts")

    @cached_property
    def datasets_folder(self) -> Path:
        return self.home.absolute() / "datasets"
