"""Files that no row names any more."""

from pathlib import Path

from worker.files import remove


def test_a_file_is_removed_and_one_that_is_gone_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"x")
    remove(str(path))
    assert not path.exists()
    remove(str(path))
    remove(path.as_uri())


def test_a_store_that_nobody_knows_costs_no_more_than_a_line_in_the_log() -> None:
    remove("nowhere://bucket/file")
