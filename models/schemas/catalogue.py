"""Files of jobs, what can be trained on, and who trains, as the API shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Artifact(_Answer):
    name: str
    kind: str
    bytes: int
    sha256: str
    created_at: datetime


class ArtifactList(_Answer):
    items: list[Artifact]
    next_cursor: None = None


class Dataset(_Answer):
    name: str
    train_samples: int
    test_samples: int
    shape: list[int]
    classes: int
    available: Annotated[bool, Field(description="Its files are there; no download is needed.")]


class DatasetList(_Answer):
    items: list[Dataset]
    next_cursor: None = None


class Network(_Answer):
    name: str
    layers: Annotated[list[dict[str, Any]], Field(description="As in a spec, for ten classes.")]
    min_size: Annotated[tuple[int, int], Field(description="The least height and width.")]


class NetworkList(_Answer):
    items: list[Network]
    next_cursor: None = None


class Worker(_Answer):
    name: str
    host: str
    pid: int
    slots: int
    devices: list[str]
    packages: Annotated[list[str], Field(description="Those whose code a job may name here.")]
    running: Annotated[list[UUID], Field(description="The jobs that it runs.")]
    last_seen: datetime


class WorkerList(_Answer):
    items: list[Worker]
    next_cursor: None = None


class Project(_Answer):
    name: str
    jobs: int


class ProjectList(_Answer):
    items: list[Project]
    next_cursor: Annotated[str | None, Field(description="Where the next page begins.")]


class Readiness(_Answer):
    """Whether work can be taken; without a broker jobs are taken and wait."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    database: Literal["ok", "away"]
    broker: Literal["ok", "away"]
    schema_: Annotated[str | None, Field(alias="schema", description="The schema's revision.")]
    workers: Annotated[int | None, Field(description="Workers seen lately.")]
