import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cli.stack.errors import ServerFailed
from cli.stack.watch import Watch


@dataclass
class Shell:
    """A part that is a shell script, a real process."""

    script: str
    log: Path
    name: str = "shell"
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return bool(self.children) and self.children[-1].poll() is None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.children.append(
                subprocess.Popen(["/bin/sh", "-c", f"exec {self.script}"], stdout=output)
            )

    def kill(self) -> None:
        self.children[-1].kill()
        self.children[-1].wait(10)


def test_a_part_that_died_is_started_again_after_a_pause(tmp_path: Path) -> None:
    part = Shell("sleep 600", tmp_path / "log")
    part.start()
    told: list[str] = []
    watch = Watch([part], 0.0, told.append)
    watch.look(100.0)
    assert len(part.children) == 1
    part.kill()
    watch.look(100.0)
    watch.look(100.4)
    assert len(part.children) == 1
    watch.look(100.5)
    assert part.alive
    assert len(part.children) == 2
    assert "shell ended" in told[0]
    assert told[1] == "shell is started again"
    part.kill()


def test_pauses_grow_and_a_part_that_keeps_dying_is_given_up_with_its_last_lines(
    tmp_path: Path,
) -> None:
    part = Shell("echo no such module", tmp_path / "log")
    part.start()
    part.children[-1].wait(10)
    watch = Watch([part], 0.0)
    starts = []
    failure = None
    for now in (tenth / 10 for tenth in range(600)):
        before = len(part.children)
        try:
            watch.look(now)
        except ServerFailed as given_up:
            failure = given_up
            break
        part.children[-1].wait(10)
        if len(part.children) > before:
            starts.append(now)
    assert failure is not None
    assert "died 5 times" in str(failure)
    assert "no such module" in failure.last_lines
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert starts[0] == 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]


def test_a_part_that_was_well_in_between_is_not_given_up(tmp_path: Path) -> None:
    part = Shell("sleep 600", tmp_path / "log")
    part.start()
    watch = Watch([part], 0.0)
    now = 0.0
    for _ in range(20):
        part.kill()
        now += 60
        watch.look(now)
        now += 1
        watch.look(now)
        assert part.alive
    part.kill()


def test_a_long_log_is_cut_on_the_way(tmp_path: Path) -> None:
    part = Shell("sleep 600", tmp_path / "log")
    part.start()
    part.log.write_bytes(b"x" * (10 * 2**20 + 1))
    Watch([part], 0.0).look(1.0)
    assert part.log.stat().st_size == 0
    part.kill()
