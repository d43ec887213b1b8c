"""That a checkpoint can be read again, where code of a team's own has put values into it."""

import io
import pickle
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from worker.training.errors import EntryPointUnfit

_PLAIN = frozenset(
    {bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size}
)
_TENSORS = frozenset({Tensor, nn.Parameter})
_MAPPINGS = frozenset({dict, OrderedDict, Counter})
_LISTS = frozenset({list, tuple, set})

_Way: TypeAlias = "tuple[_Way, object] | None"
"""Where a value stands: its holder's way, and its key there."""


class Proof:
    """Reads the first checkpoint back, and later each that holds a type which may not be read.

    Args:
        name: whose values they are.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._proven = False

    def require(self, values: Mapping[str, Any], content: bytes) -> None:
        """Refuse what could not be read again: later it would be too late.

        Args:
            values: those that are not the service's.
            content: the checkpoint, as it will be in its file.

        Raises:
            EntryPointUnfit: it holds more than tensors and plain values.

        """
        odd = find_odd(values)
        if self._proven and odd is None:
            return
        try:
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as failure:
            what = f"{odd}: {failure}" if odd else str(failure)
            detail = f"what it keeps holds more than tensors and plain values: {what}"
            raise EntryPointUnfit(self.name, detail) from failure
        self._proven = True


def find_odd(values: Mapping[str, Any]) -> str | None:
    """Name the first value of a type of which it is not known that it can be read again.

    It costs a small part of what writing them does: no tensor is read, and numbers in a row are
    looked at together.
    """
    waiting: list[tuple[_Way, object]] = [(None, values)]
    met: set[int] = set()
    while waiting:
        way, value = waiting.pop()
        kind = type(value)
        if kind in _PLAIN or (isinstance(value, Tensor) and _is_simple(value)):
            continue
        if kind not in _MAPPINGS | _LISTS:
            return f"{_path(way)} is a {kind.__module__}.{kind.__qualname__}"
        if id(value) not in met:
            met.add(id(value))
            waiting += _parts(way, value)
    return None


def _is_simple(tensor: Tensor) -> bool:
    of_torch = type(tensor) in _TENSORS and not vars(tensor)
    return of_torch and tensor.layout is torch.strided and not tensor.is_quantized


def _parts(way: _Way, holder: Any) -> list[tuple[_Way, object]]:  # noqa: ANN401 - of a known kind
    """What is in it, last first; nothing where all of it is plain."""
    if not holder:
        return []
    found: list[tuple[_Way, object]]
    if type(holder) in _LISTS:
        if set(map(type, holder)) <= _PLAIN:
            return []
        found = [((way, place), each) for place, each in enumerate(holder)]
    else:
        found = [((way, f"key {key!r:.50}"), key) for key in holder if type(key) not in _PLAIN]
        found += [((way, key), each) for key, each in holder.items()]
        # A state dict's versions hang on it.
        found += _parts(way, getattr(holder, "__dict__", None))
    return found[::-1]


def _path(way: _Way) -> str:
    keys: list[str] = []
    while way is not None:
        way, key = way
        keys.append(str(key)[:100])
    return ".".join(reversed(keys))
