"""The spec of a training job: parsed strictly, resolved, hashed."""

from models.domain.spec.hashing import resolve, spec_sha256
from models.domain.spec.job import JobSpec
from models.domain.spec.parsing import parse_spec

__all__ = ["JobSpec", "parse_spec", "resolve", "spec_sha256"]
