"""Names of a library's numbers, as the book takes them."""

import re

LONGEST_NAME = 100
_ODD = re.compile(r"[^a-zA-Z0-9_./-]")


def metric_name(name: str) -> str:
    """The name, with an underscore for what a metric's name can't hold."""
    plain = _ODD.sub("_", name)
    return plain[:LONGEST_NAME] if plain[:1].isalpha() else f"_{plain}"[:LONGEST_NAME]
