"""What every job has, whatever runs in it: a name, a place, and its turn."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from models.domain.spec.part import Part

Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
TagKey = Annotated[str, Field(min_length=1, max_length=200)]
TagValue = Annotated[str, Field(max_length=1_000)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,2}))$")]
Devices = Annotated[int, Field(ge=1, le=1)]
Threads = Annotated[int, Field(ge=1, le=256)]


def _one_spelling(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("not an id of a job: ids are UUIDs") from None


JobId = Annotated[
    str, Field(max_length=40, json_schema_extra={"format": "uuid"}), AfterValidator(_one_spelling)
]


class Heading(Part):
    """What stands above a training and above a program."""

    spec_version: Annotated[int, Field(ge=1, le=1)] = 1
    name: Annotated[str, Field(max_length=200)] = ""
    project: Label = "default"
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=64)] = Field(default_factory=dict)
    notes: Annotated[str, Field(max_length=10_000)] = ""
    parent: JobId | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    queue: Label = "default"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
