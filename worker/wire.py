"""What trainer and supervisor say to each other: frames down two pipes, one each way.

A frame is one byte for its kind and a body: raw rows, metrics (their names in JSON, then raw
values), or JSON. Nothing is unpickled: what a trainer sends is data. The pipe's own framing
(`Connection.send_bytes`) tells where one ends.
"""

import json
import struct
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from models.domain.lifecycle import Wish
from models.domain.metrics import Metric, MetricKind
from models.metrics import METRIC_DTYPE, MetricValues
from models.rows import ROW_DTYPE, Rows

PING = b"."
MOST_ROWS_A_FRAME = 8_192
MOST_VALUES_A_FRAME = 65_536
MOST_FRAME_BYTES = 64 * 2**20

# How Connection.send_bytes marks where a frame ends, up to two gigabytes.
_LENGTH = struct.Struct("!i")
_NAMES = struct.Struct("!I")


class Kind(Enum):
    """What a frame from the trainer tells."""

    HELLO = b"h"
    RESUMED = b"R"
    STARTED = b"s"
    ROWS = b"r"
    METRICS = b"m"
    EPOCH = b"e"
    LAYERS = b"l"
    PHASE = b"p"
    CHECKPOINT = b"c"
    ARTIFACT = b"a"
    SUMMARY = b"u"
    WARNING = b"w"
    ENDED = b"E"
    FAILED = b"F"


class Delivery(NamedTuple):
    """A frame that was read: rows or metrics where its kind says so, else a JSON object."""

    kind: Kind
    body: dict[str, Any]
    rows: Rows | None = None
    size_bytes: int = 0
    metrics: MetricValues | None = None


class FrameBroken(ValueError):
    """A frame is not what the two sides agreed on."""


def encode(kind: Kind, body: dict[str, Any]) -> bytes:
    """Write a JSON frame; non-finite numbers travel as Python's own words for them."""
    return kind.value + json.dumps(body, default=_plain, separators=(",", ":")).encode()


def encode_rows(rows: Rows) -> list[bytes]:
    """Write frames of rows, none of them longer than MOST_ROWS_A_FRAME."""
    return [
        Kind.ROWS.value + rows[start : start + MOST_ROWS_A_FRAME].astype(ROW_DTYPE).tobytes()
        for start in range(0, len(rows), MOST_ROWS_A_FRAME)
    ]


def encode_metrics(told: MetricValues) -> list[bytes]:
    """Write frames of values, none of them with more than MOST_VALUES_A_FRAME."""
    names = json.dumps(told.metrics, separators=(",", ":")).encode()
    head = Kind.METRICS.value + _NAMES.pack(len(names)) + names
    return [
        head + told.values[start : start + MOST_VALUES_A_FRAME].astype(METRIC_DTYPE).tobytes()
        for start in range(0, len(told), MOST_VALUES_A_FRAME)
    ]


def decode(frame: bytes) -> Delivery:
    """Read a frame.

    Raises:
        FrameBroken: it has no known kind, or its body is not of that kind.

    """
    try:
        kind = Kind(frame[:1])
        if kind is Kind.ROWS:
            rows = np.frombuffer(frame, ROW_DTYPE, offset=1)
            return Delivery(kind, {}, rows, len(frame))
        if kind is Kind.METRICS:
            return Delivery(kind, {}, None, len(frame), _metrics_in(frame))
        body = json.loads(frame[1:])
    except (ValueError, struct.error) as error:
        raise FrameBroken(f"a frame of {len(frame)} bytes: {error}") from error
    if not isinstance(body, dict):
        raise FrameBroken(f"a frame of kind {kind.name} holds no object")
    return Delivery(kind, body, None, len(frame))


class FrameReader:
    """Cuts what a pipe yields into frames, whatever pieces it comes in.

    `Connection.recv_bytes` would wait for the rest of a frame whose writer was killed or
    stopped in the middle of it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Delivery]:
        """Take bytes as they come; returns the frames that they complete.

        Raises:
            FrameBroken: these are not frames.

        """
        self._rest += data
        found: list[Delivery] = []
        at = 0
        while len(self._rest) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest, at)
            if not 0 < length <= MOST_FRAME_BYTES:
                raise FrameBroken(f"a frame of {length} bytes")
            end = at + _LENGTH.size + length
            if len(self._rest) < end:
                break
            found.append(decode(self._rest[at + _LENGTH.size : end]))
            at = end
        self._rest = self._rest[at:]
        return found


def encode_wish(wish: Wish) -> bytes:
    return wish.value.encode()


def decode_wish(frame: bytes) -> Wish | None:
    """Read a frame from the supervisor; None is a sign of life and nothing more."""
    return None if frame == PING else Wish(frame.decode())


def _metrics_in(frame: bytes) -> MetricValues:
    (length,) = _NAMES.unpack_from(frame, 1)
    start = 1 + _NAMES.size + length
    listed = json.loads(frame[1 + _NAMES.size : start])
    metrics = tuple(Metric(str(name), MetricKind(kind)) for name, kind in listed)
    values = np.frombuffer(frame, METRIC_DTYPE, offset=start)
    if len(values) and int(values["metric"].max()) >= len(metrics):
        raise ValueError("a value of a metric that is not named")
    return MetricValues(metrics, values)


def _plain(value: object) -> object:
    """Give numpy's scalars as Python's; the bits of a float64 stay."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
