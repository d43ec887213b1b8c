"""What a trainer prints becomes lines: whole, bounded, readable."""

import pytest

from worker.loglines import LINES_A_SECOND, MOST_AT_ONCE, MOST_CHARACTERS, LineReader


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def texts(reader: LineReader, *pieces: bytes) -> list[str]:
    return [line.text for piece in pieces for line in reader.feed(piece)]


def test_a_line_is_told_once_it_is_whole() -> None:
    reader = LineReader("stdout")
    assert texts(reader, b"hel", b"lo\nwor") == ["hello"]
    assert texts(reader, b"ld\r\n\n") == ["world", ""]


def test_what_is_left_when_the_stream_ends_is_a_line_too() -> None:
    reader = LineReader("stderr")
    assert texts(reader, b"half") == []
    (line,) = reader.close()
    assert (line.stream, line.text) == ("stderr", "half")
    assert reader.close() == []


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_too_long_is_cut_and_nothing_of_it_lost(ending: bytes) -> None:
    reader = LineReader("stdout")
    long = b"x" * (2 * MOST_CHARACTERS + 5) + ending
    lines = texts(reader, long) + [line.text for line in reader.close()]
    assert "".join(lines) == "x" * (2 * MOST_CHARACTERS + 5)
    assert max(map(len, lines)) == MOST_CHARACTERS


def test_bytes_that_are_no_text_are_replaced_and_nuls_removed() -> None:
    assert texts(LineReader("stdout"), b"a\x00b\xff\n") == ["ab�"]


def test_a_flood_is_cut_off_and_the_book_says_how_many_lines_are_missing() -> None:
    clock = Hands()
    reader = LineReader("stdout", clock)
    flood = b"x\n" * (MOST_AT_ONCE + 30)
    assert len(texts(reader, flood)) == MOST_AT_ONCE
    clock.seconds = 1.0
    after = texts(reader, b"again\n")
    assert after == ["[30 lines left out: printed too fast]", "again"]
    assert len(texts(reader, flood)) == LINES_A_SECOND - 1
    assert reader.close()[-1].text.endswith("lines left out: printed too fast]")
