"""Frames between trainer and supervisor."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.domain.lifecycle import Wish
from models.domain.metrics import Metric, MetricKind
from models.metrics import METRIC_DTYPE, MetricValues
from tests.pretenders import make_rows
from worker.wire import (
    MOST_FRAME_BYTES,
    MOST_ROWS_A_FRAME,
    MOST_VALUES_A_FRAME,
    PING,
    FrameBroken,
    FrameReader,
    Kind,
    decode,
    decode_wish,
    encode,
    encode_metrics,
    encode_rows,
    encode_wish,
)


def framed(frame: bytes) -> bytes:
    """As Connection.send_bytes writes it."""
    return struct.pack("!i", len(frame)) + frame


def test_a_json_frame_comes_back_with_every_bit_of_its_numbers() -> None:
    body = {"a": math.inf, "b": -0.0, "c": 0.1 + 0.2, "d": None, "e": np.float64(1 / 3)}
    delivery = decode(encode(Kind.EPOCH, body))
    assert delivery.kind is Kind.EPOCH
    assert delivery.body == {**body, "e": 1 / 3}
    assert math.copysign(1, delivery.body["b"]) == -1
    assert math.isnan(decode(encode(Kind.SUMMARY, {"x": math.nan})).body["x"])


def test_rows_come_back_as_the_same_bytes_in_frames_of_bounded_size() -> None:
    rows = make_rows(1, MOST_ROWS_A_FRAME + 7)
    rows["loss"][3] = math.nan
    frames = encode_rows(rows)
    assert len(frames) == 2
    found = [decode(frame).rows for frame in frames]
    assert b"".join(each.tobytes() for each in found if each is not None) == rows.tobytes()


def test_metrics_come_back_as_the_same_bytes_in_frames_of_bounded_size() -> None:
    values = np.zeros(MOST_VALUES_A_FRAME + 3, METRIC_DTYPE)
    values["iteration"] = np.arange(1, len(values) + 1)
    values["value"].view("<i8")[:] = 0x7FF8_0000_0000_0001
    told = MetricValues((Metric("a", MetricKind.EPOCH),), values)
    frames = encode_metrics(told)
    assert len(frames) == 2
    found = [each for frame in frames if (each := decode(frame).metrics) is not None]
    assert {each.metrics for each in found} == {told.metrics}
    assert b"".join(each.values.tobytes() for each in found) == values.tobytes()


VALUE = np.zeros(1, METRIC_DTYPE).tobytes()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0\x09[]",
        b"\0\0\0\x02[]" + VALUE,
        b"\0\0\0\x02{}12",
        b'\0\0\0\x05["a"]' + VALUE,
        b'\0\0\0\x0d[["a","week"]]' + VALUE,
        b"\0\0\0\x021." + VALUE,
    ],
    ids=["nothing", "cut", "unnamed", "ragged", "no kind", "unknown kind", "no list"],
)
def test_metrics_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(FrameBroken):
        decode(Kind.METRICS.value + body)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 200))
def test_frames_are_found_in_whatever_pieces_the_pipe_yields(sizes: list[int], piece: int) -> None:
    stream = b"".join(
        framed(frame) for count in sizes for frame in encode_rows(make_rows(1, count))
    )
    reader = FrameReader()
    found = [
        delivery
        for start in range(0, len(stream), piece)
        for delivery in reader.feed(stream[start : start + piece])
    ]
    assert [len(delivery.rows) for delivery in found if delivery.rows is not None] == sizes


@pytest.mark.parametrize(
    "frame",
    [b"", b"?", b"?{}", b"e", b"e{", b"e[]", b"e\xff", b"r123"],
    ids=["empty", "kind", "unknown", "nothing", "cut", "list", "bytes", "ragged rows"],
)
def test_what_is_no_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameBroken):
        decode(frame)


@pytest.mark.parametrize("length", [0, -1, MOST_FRAME_BYTES + 1])
def test_a_frame_of_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(FrameBroken):
        FrameReader().feed(struct.pack("!i", length) + b"x")


@pytest.mark.parametrize("wish", list(Wish))
def test_wishes_come_back_and_a_ping_wishes_nothing(wish: Wish) -> None:
    assert decode_wish(encode_wish(wish)) is wish
    assert decode_wish(PING) is None
