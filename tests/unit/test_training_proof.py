"""What a checkpoint may hold: each later one is looked at, and read back where there is a doubt."""

import io
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from worker.training.errors import EntryPointUnfit
from worker.training.proof import Proof, find_odd

NETWORK = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
LOOP: list[Any] = [1]
LOOP.append(LOOP)

PLAIN = [
    None,
    [1, 2.0, True, "a", b"b", 1j],
    {"a": (1, {2, 3}), 4: {"b": [[]]}, (5, 6): Counter("ab")},
    OrderedDict(a=torch.float32, b=torch.device("cpu"), c=torch.Size([1])),
    NETWORK.state_dict(),
    nn.Parameter(torch.ones(2)),
    torch.optim.AdamW(NETWORK.parameters()).state_dict(),
    LOOP,
]
REFUSED = [
    (np.float64(0.5), "a is a numpy.float64"),
    ([1.0, np.float64(0.5)], "a.1 is a numpy.float64"),
    ({"b": (1, {"c": Path()})}, "a.b.1.c is a pathlib"),
    ({np.int64(3): 1}, "a.key np.int64(3) is a numpy.int64"),
    (np.ones(2), "a is a numpy.ndarray"),
    (frozenset({1}), "a is a builtins.frozenset"),
    ({"b": nn.ReLU()}, "a.b is a torch.nn.modules.activation.ReLU"),
]
NOTED = torch.ones(2)
NOTED.note = "mine"  # type: ignore[attr-defined]
READABLE = [torch.eye(2).to_sparse(), NOTED]


def written(value: object) -> tuple[dict[str, Any], bytes]:
    file = io.BytesIO()
    torch.save({"a": value}, file)
    return {"a": value}, file.getvalue()


def proven() -> Proof:
    """One whose first checkpoint was read back already."""
    proof = Proof("team")
    proof.require(*written(1))
    return proof


@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_what_is_plain_can_be_read_again(value: object) -> None:
    values, content = written(value)
    assert find_odd(values) is None
    torch.load(io.BytesIO(content), weights_only=True)


def test_what_is_plain_is_not_read_back_each_time() -> None:
    proven().require({"a": [1.0]}, b"no checkpoint")


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_not_is_named_where_it_stands(value: object, words: str) -> None:
    with pytest.raises(EntryPointUnfit) as refused:
        proven().require(*written(value))
    assert str(refused.value).startswith(
        f"team: what it keeps holds more than tensors and plain values: {words}"
    )


@pytest.mark.parametrize("value", READABLE, ids=["sparse", "with an attribute"])
def test_where_there_is_a_doubt_it_is_read_back(value: object) -> None:
    values, content = written(value)
    assert find_odd(values) is not None
    proven().require(values, content)
