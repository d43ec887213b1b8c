"""Layers that have stopped learning, and layers that run away, told of once each.

Both are read off what the layers' readings say anyway, so they cost nothing, and are seen only
where there are readings. A layer is

* dead where none of the error reaches it, while the last layer has some: its weights stand still,
  as before a ReLU that is never above 0;
* exploding where its error is more than MOST_TIMES the last layer's, or an update moves its weights
  by more than their own length.

One reading may be chance, so it takes IN_A_ROW of them. A number that is not finite speaks for
itself, but in fp16, where it is how the loss scaler finds its scale.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

IN_A_ROW = 3
MOST_TIMES = 1e3
MOST_RATIO = 1.0

Reading = Mapping[str, Any]

_DEAD, _EXPLODING = "dead", "exploding"
_WORDS = {
    _DEAD: "layers are dead: none of the error reaches them, and they learn nothing",
    _EXPLODING: "layers are exploding: their errors or updates are out of all proportion",
}
_TOLD = -1


def find_ailing(
    counts: dict[str, int], readings: Sequence[Reading], *, scaled: bool
) -> list[tuple[str, list[str]]]:
    """Look at one iteration's readings.

    Args:
        counts: readings in a row in which something was wrong, by ill and layer; it is kept here,
            as a part of the training's state: nothing is told again after a resume.
        readings: a layer each, in the order of the network.
        scaled: whether a loss scaler may make gradients infinite on its way.

    Returns:
        What is wrong from this iteration on, in words, and the layers.

    """
    last = readings[-1]["error_norm"] if readings else 0.0
    found: dict[str, list[str]] = {}
    for reading in readings:
        for ill, times in _ills(reading, last, scaled=scaled).items():
            if _is_told_now(counts, f"{ill} {reading['layer']}", times):
                found.setdefault(_WORDS[ill], []).append(reading["layer"])
    return list(found.items())


def _ills(reading: Reading, last: float, *, scaled: bool) -> dict[str, int]:
    """Return, an ill, how many readings this one counts for."""
    error, ratio = reading["error_norm"], reading["update_ratio"] or 0.0
    exploding = int(error > MOST_TIMES * last or ratio > MOST_RATIO)
    if not all(map(math.isfinite, (error, reading["grad_norm"] or 0.0, ratio))):
        exploding = 1 if scaled else IN_A_ROW
    return {_DEAD: int(error == 0 and last > 0), _EXPLODING: exploding}


def _is_told_now(counts: dict[str, int], key: str, times: int) -> bool:
    before = counts.get(key, 0)
    if before == _TOLD:
        return False
    if times == 0:
        counts.pop(key, None)
        return False
    told = before + times >= IN_A_ROW
    counts[key] = _TOLD if told else before + times
    return told
