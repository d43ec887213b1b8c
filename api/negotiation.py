"""What a client wants of all that there is: the best of its `Accept` and `Accept-Encoding`."""

import re
from collections.abc import Mapping

MEDIA_TYPES: Mapping[str, str] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}

CODINGS = ("zstd", "gzip")
# As RFC 9110 12.4.2 has it: NaN, infinity and -1 are no qualities.
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def preferred_format(accept: str) -> str:
    """Choose the format of the best-liked media type that is known; JSON where none is."""
    ranked = sorted(map(_weighed, accept.split(",")), key=lambda each: -each[1])
    for media_type, quality in ranked:
        if quality > 0 and media_type in MEDIA_TYPES:
            return MEDIA_TYPES[media_type]
        if quality > 0 and media_type in {"*/*", "application/*"}:
            return "json"
    return "json"


def preferred_coding(accept_encoding: str) -> str | None:
    """Choose the best-liked of CODINGS, the first one of equals; None: the bytes as they are.

    They are sent as they are too where a client takes nothing that there is: better than a 406.
    """
    ranked = dict(reversed([_weighed(each) for each in accept_encoding.split(",")]))
    others = ranked.get("*", 0.0)
    wanted = {coding: ranked.get(coding, others) for coding in CODINGS}
    best = max(CODINGS, key=wanted.__getitem__)
    if wanted[best] <= 0 or wanted[best] < ranked.get("identity", 0.0):
        return None
    return best


def prefers(accept: str, media_type: str) -> bool:
    """Whether a client has named this media type, and likes no other one of its list better."""
    ranked = dict(map(_weighed, accept.split(",")))
    quality = ranked.get(media_type, 0.0)
    return quality > 0 and quality >= max(ranked.values())


def _weighed(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            quality = value.strip()
            return name, float(quality) if _QUALITY.fullmatch(quality) else 0.0
    return name, 1.0
