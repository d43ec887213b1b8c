"""The spec of a training job: parsed strictly, resolved, hashed."""

from models.domain.spec.hashing import resolve, spec_sha256
from models.domain.spec.job import JobSpec
from models.domain.spec.parsing import parse_job, parse_spec
from models.domain.spec.program import ProgramSpec

__all__ = ["JobSpec", "ProgramSpec", "parse_job", "parse_spec", "resolve", "spec_sha256"]
