"""What a trainer prints, as lines for the book: bounded in length and in rate."""

import time
from collections.abc import Callable

from services.pages import LogLine

MOST_CHARACTERS = 4_000
LINES_A_SECOND = 200
MOST_AT_ONCE = 2_000

Clock = Callable[[], float]


class LineReader:
    """Cuts one stream's bytes into lines.

    A line longer than MOST_CHARACTERS is cut into several. Where a trainer prints faster than
    LINES_A_SECOND for long, lines are left out and a line says how many.

    Args:
        stream: "stdout" or "stderr".
        clock: seconds that only rise.

    """

    def __init__(self, stream: str, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._rest = b""
        self._allowance = float(MOST_AT_ONCE)
        self._at = clock()
        self._left_out = 0

    def feed(self, data: bytes) -> list[LogLine]:
        """Take bytes as they come; returns the lines that they complete."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > MOST_CHARACTERS:
            whole.append(self._rest[:MOST_CHARACTERS])
            self._rest = self._rest[MOST_CHARACTERS:]
        return self._admit(whole)

    def close(self) -> list[LogLine]:
        """The stream has ended: what is left is a line too, and what was left out is told."""
        rest, self._rest = self._rest, b""
        lines = self._admit([rest] if rest else [])
        return lines + self._told()

    def _admit(self, lines: list[bytes]) -> list[LogLine]:
        now = self._clock()
        self._allowance = min(
            float(MOST_AT_ONCE), self._allowance + (now - self._at) * LINES_A_SECOND
        )
        self._at = now
        admitted: list[LogLine] = []
        for line in lines:
            for piece in _pieces(line):
                if self._allowance < 1:
                    self._left_out += 1
                    continue
                admitted += self._told()
                self._allowance -= 1
                admitted.append(LogLine(self._stream, _text(piece)))
        return admitted

    def _told(self) -> list[LogLine]:
        if not self._left_out:
            return []
        left_out, self._left_out = self._left_out, 0
        return [LogLine(self._stream, f"[{left_out} lines left out: printed too fast]")]


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MOST_CHARACTERS:
        return [line]
    return [line[at : at + MOST_CHARACTERS] for at in range(0, len(line), MOST_CHARACTERS)]


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace").replace("\x00", "")
