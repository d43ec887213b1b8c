import subprocess
import sys
from pathlib import Path

import pytest

from cli.stack.errors import FolderUnusable, HomeTaken
from cli.stack.home import Home

HOLDER = """
import sys
from pathlib import Path
from cli.stack.home import Home
Home(Path(sys.argv[1])).take()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_who_has_the_home_until_that_one_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HomeTaken, match=f"process {holder.pid}") as refusal:
            Home(path).take()
        assert refusal.value.pid == holder.pid
        holder.kill()
        holder.wait(10)
    home = Home(path)
    home.take()
    home.release()


def test_a_home_that_was_released_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        home = Home(tmp_path / "home")
        home.take()
        with pytest.raises(HomeTaken):
            Home(tmp_path / "home").take()
        home.release()


def test_a_home_below_a_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match="--home"):
        Home(tmp_path / "file" / "home").take()


def test_a_home_is_absolute_whatever_the_current_folder_becomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home(Path(".gradbook"))
    monkeypatch.chdir("/")
    assert home.path == tmp_path / ".gradbook"
