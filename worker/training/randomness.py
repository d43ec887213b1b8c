"""Every random state that a training has: Python's, NumPy's, torch's on each device.

Only initial weights and dropout draw from them; order and augmentation have streams of their
own (order.py). Python's and NumPy's are seeded and kept so that no library that uses them can
make two runs differ.
"""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed them all; torch's gets the very seed, so a plain script can repeat what follows."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from this one
    torch.manual_seed(seed)


def random_states(device: torch.device) -> dict[str, Any]:
    """Return them as tensors and plain values, for a file that is loaded with weights_only."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - as above
    return {
        "python": (version, list(numbers), gauss),
        "numpy": (
            name,
            torch.from_numpy(np.array(keys, dtype=np.int64)),
            position,
            has_gauss,
            cached,
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(  # noqa: NPY002 - as above
        (name, keys.numpy().astype(np.uint32), position, has_gauss, cached)
    )
    torch.set_rng_state(states["torch"].cpu())
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
