"""scikit-learn's handwritten digits, kept as a tensor beside this file.

`python -m worker.training.data.make_digits` wrote it.
"""

from pathlib import Path

from safetensors.torch import load_file

from worker.training.data.raw import RawData

FILE = Path(__file__).with_name("digits.safetensors")


def load_digits() -> RawData:
    tensors = load_file(FILE)
    return RawData(
        train_nchw=tensors["train_images"],
        train_labels_n=tensors["train_labels"].long(),
        test_nchw=tensors["test_images"],
        test_labels_n=tensors["test_labels"].long(),
        classes=10,
        full=16.0,
    )
