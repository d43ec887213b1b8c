from pathlib import Path

from cli.stack.logs import bound, last_lines, open_log


def test_the_last_lines_of_a_log_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert last_lines(log, 2) == "line 9998\nline 9999"


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "part.log") == ""
    bound(tmp_path / "part.log")
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_text_are_shown_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"\xff\xfe broken\n")
    assert last_lines(log).endswith("broken")


def test_a_long_log_is_cut_while_its_part_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with open(open_log(log), "wb", buffering=0) as part:  # noqa: PTH123
        part.write(b"before\n" * 100)
        bound(log, most_bytes=100)
        part.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "part.log.1").read_bytes() == b"before\n" * 100


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("short\n")
    bound(log, most_bytes=100)
    assert [path.name for path in tmp_path.iterdir()] == ["part.log"]


def test_only_its_owner_may_read_a_log(tmp_path: Path) -> None:
    with open(open_log(tmp_path / "part.log"), "wb"):  # noqa: PTH123
        assert (tmp_path / "part.log").stat().st_mode & 0o777 == 0o600
