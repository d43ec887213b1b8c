"""What the contract names and a later release brings: refused at its place, saying so."""

from collections.abc import Iterator, Mapping
from typing import Any

from models.domain.errors import Breach

LATER = "comes with a later release"


def later(raw: Mapping[str, Any]) -> list[Breach]:
    """A breach for each thing in a spec, not validated yet, that is still to come."""
    return list(_later(raw))


def _later(raw: Mapping[str, Any]) -> Iterator[Breach]:
    devices, init = raw.get("devices"), raw.get("init")
    if isinstance(init, dict) and init.get("name") == "job":
        yield Breach(("init", "name"), f"starting from another job's weights {LATER}")
    if type(devices) is int and devices > 1:
        yield Breach(("devices",), f"more than one device for a job {LATER}: leave it at 1")
    if raw.get("compile") is True:
        yield Breach(("compile",), f"torch.compile {LATER}: leave it at false")
