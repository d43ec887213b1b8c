"""The spec of a job that is a program: a team's whole loop, which reports as it goes."""

from typing import Annotated

from pydantic import Field

from models.domain.spec.dataset import Seed
from models.domain.spec.entrypoint import EntryPoint
from models.domain.spec.heading import Device, Devices, Heading, Threads
from models.domain.spec.part import Part, Positive


class Program(EntryPoint):
    """Called with an object to report to, and its options.

    `iterations` is how many it will make, for its progress alone; null where nobody knows.
    """

    iterations: Positive | None = None


class ProgramCheckpoint(Part):
    every_seconds: Annotated[float, Field(ge=0.1, le=1e9)] = 60.0
    keep: Annotated[int, Field(ge=1, le=1_000)] = 2


class ProgramSpec(Heading):
    """A job that is a program. Only `program` is required."""

    program: Program
    checkpoint: ProgramCheckpoint = ProgramCheckpoint()
    device: Device = "auto"
    devices: Devices = 1
    seed: Seed = 0
    threads: Threads = 1
