import socket
from pathlib import Path

import pytest

from cli.errors import Refused
from cli.stack.errors import DiskFull, HostUnusable, PortTaken, PythonTooOld, StackError
from cli.stack.preflight import check_listening, check_python, check_room


def test_an_old_python_is_refused_with_the_cure() -> None:
    with pytest.raises(PythonTooOld, match=r"3\.9.*needs 3\.11.*python3\.11 -m venv"):
        check_python((3, 9))


def test_this_python_will_do() -> None:
    check_python()


def test_a_full_disk_is_refused_with_folder_and_cure(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there" / "yet"
    with pytest.raises(DiskFull, match="--home") as refusal:
        check_room(home, needed_bytes=10**18)
    assert refusal.value.folder == home
    assert str(home) in str(refusal.value)
    assert 0 < refusal.value.free_bytes < 10**18


def test_enough_room_is_enough(tmp_path: Path) -> None:
    check_room(tmp_path / "home", needed_bytes=1)


def test_a_taken_port_is_refused_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(PortTaken, match=f"{port}.*--port {port + 1}"):
            check_listening("127.0.0.1", port)
    check_listening("127.0.0.1", port)


def test_a_port_taken_on_every_address_is_refused() -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as stranger,  # noqa: S104
        pytest.raises(PortTaken),
    ):
        check_listening("127.0.0.1", stranger.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(HostUnusable, match="--host"):
        check_listening(host, 8000)


def test_what_the_stack_refuses_is_shown_as_every_refusal_is() -> None:
    assert issubclass(StackError, Refused)
