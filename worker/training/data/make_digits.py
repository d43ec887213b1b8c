"""Write digits.safetensors from scikit-learn's copy of the data: run once, by hand.

    python -m worker.training.data.make_digits

The split is fixed and stratified: a class gives its share of the test samples, spread evenly
over scikit-learn's order (neighbours there are often by the same hand).
"""

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from worker.training.data.digits import FILE

TEST_SAMPLES = 360


def split(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which samples are for testing: round(n / 5) a class, adjusted to TEST_SAMPLES."""
    counts = np.bincount(labels)
    wanted = np.round(counts * TEST_SAMPLES / len(labels)).astype(int)
    wanted[int(counts.argmax())] += TEST_SAMPLES - int(wanted.sum())
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label, count in enumerate(wanted):
        places = np.flatnonzero(labels == label)
        chosen[places[np.linspace(0, len(places) - 1, count).round().astype(int)]] = True
    return chosen


def main() -> None:
    digits = load_digits()
    images = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.uint8)
    test = split(digits.target)
    save_file(
        {
            "train_images": np.ascontiguousarray(images[~test]),
            "train_labels": np.ascontiguousarray(labels[~test]),
            "test_images": np.ascontiguousarray(images[test]),
            "test_labels": np.ascontiguousarray(labels[test]),
        },
        FILE,
    )


if __name__ == "__main__":
    main()
