"""The words that JSON gets for numbers it has no room for."""

import math

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def number_or_word(value: float) -> float | str:
    """Return the word of a number that is not finite, and any other number as it is."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
