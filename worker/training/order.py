"""Which samples an epoch's batches hold: a pure function of (seed, epoch).

Nothing here depends on how many numbers were drawn before, so a job that goes on from a
checkpoint in another process sees the very same batches.
"""

import hashlib

import torch
from torch import Tensor


def stream(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Return a CPU generator of its own for (seed, purpose, number)."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return generator


def epoch_order(seed: int, epoch: int, samples: int) -> Tensor:
    """Return a permutation of 0…samples-1, int64 on the CPU; `epoch` counts from 1."""
    return torch.randperm(samples, generator=stream(seed, "order", epoch))


def drawn(seed: int, purpose: str, samples: int, keep: int) -> Tensor:
    """Return `keep` of 0…samples-1, ascending: a subset that (seed, purpose) decides."""
    chosen = torch.randperm(samples, generator=stream(seed, purpose))[:keep]
    return chosen.sort().values
