"""Files that no row names any more."""

from pathlib import Path

import fsspec
import pytest

from worker.files import remove


def test_a_file_is_removed_and_one_that_is_gone_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"x")
    remove(str(path))
    assert not path.exists()
    remove(str(path))
    remove(path.as_uri())


@pytest.mark.parametrize("place", ["{}", "file://{}", "memory://{}"])
def test_a_folder_is_removed_with_all_that_is_in_it(place: str, tmp_path: Path) -> None:
    store, root = fsspec.url_to_fs(place.format(tmp_path / "job"))
    store.makedirs(f"{root}/mine/deep")
    for name in ("mine/deep/file", "other"):
        store.pipe_file(f"{root}/{name}", b"x")
    for _ in range(2):
        remove(f"{place.format(tmp_path)}/job/mine", recursive=True)
        assert not store.exists(f"{root}/mine")
    assert store.exists(f"{root}/other")


def test_a_store_that_nobody_knows_costs_no_more_than_a_line_in_the_log() -> None:
    remove("nowhere://bucket/file")
