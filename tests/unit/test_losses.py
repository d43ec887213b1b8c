"""The hash of a book's losses: whoever has seen which of them, it is that of all."""

import hashlib

import pytest

from tests.pretenders import make_rows
from worker import losses
from worker.losses import BookedLosses


def digest_of(count: int) -> str:
    return hashlib.sha256(make_rows(1, count)["loss"].tobytes()).hexdigest()


class Book:
    """Rows 1 to `count`, and what was read of them."""

    def __init__(self) -> None:
        self.read: list[tuple[int, int]] = []
        self.beats = 0

    def losses(self, first: int, last: int) -> bytes:
        self.read.append((first, last))
        return make_rows(first, last - first + 1)["loss"].tobytes()

    def beat(self) -> None:
        self.beats += 1


def test_who_was_there_from_the_start_reads_nothing() -> None:
    book = Book()
    booked = BookedLosses(book.losses, 0)
    booked.add(make_rows(1, 4))
    assert booked.sha256(make_rows(5, 2), book.beat) == digest_of(6)
    # Asked once more, as where an outage delays the end: the last rows are not in the book yet.
    assert booked.sha256(make_rows(5, 2), book.beat) == digest_of(6)
    assert booked.sha256(None, book.beat) == digest_of(4)
    assert book.read == []


def test_a_job_without_a_row_has_the_hash_of_nothing() -> None:
    assert BookedLosses(Book().losses, 0).sha256(None, lambda: None) == digest_of(0)


def test_who_goes_on_reads_what_stays_a_piece_at_a_time_and_lives_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(losses, "PIECE_ROWS", 10)
    book = Book()
    booked = BookedLosses(book.losses, 40)
    booked.go_on_at(25, book.beat)
    assert (book.read, book.beats) == ([(1, 10), (11, 20), (21, 25)], 3)
    booked.add(make_rows(26, 3))
    assert booked.sha256(None, book.beat) == digest_of(28)


def test_who_ends_before_it_says_where_it_goes_on_hashes_what_is_there() -> None:
    book = Book()
    assert BookedLosses(book.losses, 15).sha256(None, book.beat) == digest_of(15)
    assert book.read == [(1, 15)]


def test_rows_that_follow_what_was_not_read_are_read_with_it() -> None:
    book = Book()
    booked = BookedLosses(book.losses, 15)
    booked.add(make_rows(16, 5))
    assert booked.sha256(None, book.beat) == digest_of(20)
