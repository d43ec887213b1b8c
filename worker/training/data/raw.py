"""A data set as its source holds it, before any choice or change.

Legend: n samples, c channels, h height, w width. Synthetic samples may have another shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Alive = Callable[[], None]
"""Called often by whatever takes long: reports progress, and raises where it must end."""


@dataclass(frozen=True, slots=True)
class RawData:
    """Images uint8 or float32 [n, c, h, w], labels int64 [n], and the value of a full pixel."""

    train_nchw: Tensor
    train_labels_n: Tensor
    test_nchw: Tensor
    test_labels_n: Tensor
    classes: int
    full: float
