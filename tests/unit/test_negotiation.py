"""The Accept header: the best-liked type that is known, JSON where none is."""

import pytest

from api.negotiation import preferred_coding, preferred_format


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
        ("text/csv;q=nan, application/x-ndjson;q=0.1", "ndjson"),
        ("text/csv;q=inf, application/x-ndjson;q=0.1", "ndjson"),
        ("text/csv;q=1e5, application/x-ndjson;q=-1", "json"),
        ("text/csv," * 5_000, "csv"),
    ],
)
def test_accept_is_understood(accept: str, expected: str) -> None:
    assert preferred_format(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("GZIP;Q=0.5 , identity;q=0.1", "gzip"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0", None),
        ("zstd;q=0, gzip;q=0.001", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("br, deflate", None),
        ("gzip;q=nan", None),
        ("gzip;q=2, zstd;q=0.1", "zstd"),
        (";,=,q;;gzip;q", None),
        ("gzip, gzip;q=0", "gzip"),
        ("x," * 20_000 + "gzip", "gzip"),
    ],
)
def test_accept_encoding_is_understood(accept: str, expected: str | None) -> None:
    assert preferred_coding(accept) == expected
