import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.errors import FolderUnusable
from cli.stack.folder import ServerFolder, is_free, make_folder


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    made = ServerFolder(tmp_path / "server")
    made.make()
    return made


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_a_port_is_remembered(folder: ServerFolder) -> None:
    port = folder.choose_port()
    assert ServerFolder(folder.root).choose_port() == port
    assert (folder.root / "port").read_text() == f"{port}\n"


def test_a_port_that_a_stranger_took_is_replaced_for_good(folder: ServerFolder) -> None:
    port = folder.choose_port()
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        other = folder.choose_port()
    assert other != port
    assert folder.choose_port() == other


def test_a_port_file_of_nonsense_is_replaced(folder: ServerFolder) -> None:
    (folder.root / "port").write_text("eight thousand")
    assert folder.choose_port() in range(20_000, 32_000)


def test_a_password_is_made_once_and_only_its_owner_may_read_it(folder: ServerFolder) -> None:
    assert not folder.has_password
    password = folder.password()
    assert len(password) >= 32
    assert folder.password() == password
    assert (folder.root / "password").stat().st_mode & 0o777 == 0o600


def test_two_folders_have_different_passwords(tmp_path: Path) -> None:
    folders = [ServerFolder(tmp_path / name) for name in ("one", "two")]
    for one in folders:
        one.make()
    assert len({one.password() for one in folders}) == 2


@pytest.mark.usefixtures("narrow_umask")
def test_made_folders_can_be_passed_through_and_parents_stay_as_they_are(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o700)
    make_folder(parent / "a" / "b")
    assert (parent / "a" / "b").stat().st_mode & 0o777 == 0o755
    assert (parent / "a").stat().st_mode & 0o777 == 0o755
    assert parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_below_a_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match="--home"):
        ServerFolder(tmp_path / "file" / "server").make()
