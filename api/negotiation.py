"""Which format a client wants: what `format=` says, else the best of its `Accept` header."""

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


def preferred_format(accept: str) -> str:
    """Choose the format of the best-liked media type that is known; JSON where none is."""
    ranked = sorted(map(_weighed, accept.split(",")), key=lambda each: -each[1])
    for media_type, quality in ranked:
        if quality > 0 and media_type in MEDIA_TYPES:
            return MEDIA_TYPES[media_type]
        if quality > 0 and media_type in {"*/*", "application/*"}:
            return "json"
    return "json"


def prefers(accept: str, media_type: str) -> bool:
    """Whether a client has named this media type, and likes no other one of its list better."""
    ranked = dict(map(_weighed, accept.split(",")))
    quality = ranked.get(media_type, 0.0)
    return quality > 0 and quality >= max(ranked.values())


def _weighed(text: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_type, float(value)
            except ValueError:
                return media_type, 0.0
    return media_type, 1.0
