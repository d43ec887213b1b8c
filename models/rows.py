"""An iteration's row as numpy holds it, from the buffer that it is measured into to the book."""

import numpy as np
import numpy.typing as npt

ROW_DTYPE = np.dtype(
    [
        ("iteration", "<i8"),
        ("epoch", "<i4"),
        ("batch", "<i4"),
        ("samples", "<i4"),
        ("loss", "<f8"),
        ("lr", "<f8"),
        ("grad_norm", "<f8"),
        ("has_grad_norm", "?"),
        ("seconds", "<f8"),
    ]
)
"""One iteration. `grad_norm` counts only where `has_grad_norm` is set: NaN is a norm too."""

Rows = npt.NDArray[np.void]
"""Iterations of ROW_DTYPE, in order."""
