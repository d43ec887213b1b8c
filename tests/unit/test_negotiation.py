"""The Accept header: the best-liked type that is known, JSON where none is."""

import pytest

from api.negotiation import preferred_format


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv", "csv"),
        ("TEXT/CSV ; header=present", "csv"),
        ("application/x-ndjson, text/csv", "ndjson"),
        ("application/x-ndjson;q=0.5, text/csv;q=0.9", "csv"),
        ("application/json, text/csv;q=0.9", "json"),
        ("text/csv;q=0", "json"),
        ("text/csv;q=high", "json"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("application/vnd.apache.parquet, */*;q=0.1", "parquet"),
        (",;,=;q", "json"),
    ],
)
def test_accept_is_understood(accept: str, expected: str) -> None:
    assert preferred_format(accept) == expected
