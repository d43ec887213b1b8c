"""The resolved spec and the hash of what can change a training's numbers."""

import hashlib
import json
from typing import Any, Final

from models.domain.spec.heading import Heading

UNCOUNTED: Final = frozenset(
    {
        "name",
        "project",
        "tags",
        "notes",
        "parent",
        "priority",
        "queue",
        "max_attempts",
        "checkpoint",
        "record",
    }
)
"""Fields that can't change the numbers."""


def resolve(spec: Heading) -> dict[str, Any]:
    """The spec as plain JSON values, every default filled in; parsed again it is the same."""
    return spec.model_dump(mode="json")


def spec_sha256(spec: Heading) -> str:
    """SHA-256 of the resolved spec's canonical JSON, without the fields in UNCOUNTED.

    Canonical: keys sorted, no spaces, UTF-8, numbers in Python's shortest round-trip form.
    """
    counted = {name: value for name, value in resolve(spec).items() if name not in UNCOUNTED}
    text = json.dumps(
        counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()
