"""What files of the kernel say about processes that it killed for want of memory."""

from pathlib import Path

import pytest

from worker.oom import KernelLog, OomEvidence, count_kills, counter_files, victims

EVENTS = "low 0\nhigh 0\nmax 214\noom 3\noom_kill {kills}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"
# Both as Linux 6.18 writes them; the numbers are of one kill in a group of 64 MiB.
OOM_LINE = (
    "6,812,8201774221,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,"
    "mems_allowed=0,oom_memcg=/small,task_memcg=/small,task=python,pid=4711,uid=0\n"
)
KILLED_LINE = (
    "3,813,8201774230,-;Memory cgroup out of memory: Killed process 4711 (python) "
    "total-vm:143368kB, anon-rss:64020kB, file-rss:6380kB, shmem-rss:0kB, UID:0 pgtables:240kB "
    "oom_score_adj:1000\n SUBSYSTEM=memory\n"
)


def process(
    folder: Path, *, groups: str, mounts: list[str], events: dict[str, str]
) -> tuple[Path, Path]:
    """A folder as /proc/self is, and the file systems that it tells of."""
    folder.mkdir(exist_ok=True)
    (folder / "cgroup").write_text(groups)
    system = folder / "sys fs"
    text = "23 28 0:21 / /proc rw - proc proc rw\n"
    for number, mount in enumerate(mounts):
        escaped = str(system).replace(" ", r"\040")
        text += f"{31 + number} 23 0:{28 + number} {mount.format(escaped)}\n"
    (folder / "mountinfo").write_text(text)
    for name, content in events.items():
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).write_text(content)
    return folder, system


def second_version(folder: Path, kills: int = 0) -> tuple[Path, Path]:
    """One group of version 2, as a systemd service has it."""
    made, system = process(
        folder,
        groups="0::/system.slice/gradbook.service\n",
        mounts=["/ {} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"],
        events={"system.slice/gradbook.service/memory.events": EVENTS.format(kills=kills)},
    )
    return made, system / "system.slice/gradbook.service/memory.events"


def test_the_counter_of_version_2_lies_in_the_groups_folder(tmp_path: Path) -> None:
    made, counter = second_version(tmp_path / "self", kills=2)
    assert counter_files(made) == [counter]
    assert count_kills(counter) == 2


def test_the_counter_of_version_1_lies_with_the_memory_controller(tmp_path: Path) -> None:
    made, system = process(
        tmp_path / "self",
        groups="9:name=systemd:/a\n4:cpu,cpuacct:/b\n3:memory:/jobs/one\n0::/\n",
        mounts=[
            "/ {}/memory rw,relatime - cgroup cgroup rw,memory",
            "/ {}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct",
            "/ {}/unified rw,relatime - cgroup2 cgroup2 rw",
        ],
        events={
            "memory/jobs/one/memory.oom_control": CONTROL.format(kills=1),
            "memory/memory.oom_control": CONTROL.format(kills=7),
        },
    )
    assert counter_files(made) == [system / "memory/jobs/one/memory.oom_control"]


@pytest.mark.parametrize(
    ("group", "root"), [("/docker/4f2a", "/docker/4f2a"), ("/", "/"), ("/", "/docker/4f2a")]
)
def test_in_a_container_the_group_may_be_the_root_of_what_is_seen(
    tmp_path: Path, group: str, root: str
) -> None:
    made, system = process(
        tmp_path / "self",
        groups=f"0::{group}\n",
        mounts=[root + " {} ro - cgroup2 cgroup rw"],
        events={"memory.events": EVENTS.format(kills=0)},
    )
    assert counter_files(made) == [system / "memory.events"]


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [
        ("0::/\n", []),
        ("0::/\n", ["/ {} rw - cgroup2 cgroup2 rw"]),
        ("no such thing", ["/ {} rw - cgroup2 cgroup2 rw"]),
        ("0::/", ["half a line"]),
        ("0::/", [" - cgroup2 cgroup2 rw"]),
        ("", []),
    ],
)
def test_what_is_hidden_or_odd_is_no_evidence(
    tmp_path: Path, groups: str, mounts: list[str]
) -> None:
    made, _ = process(tmp_path / "self", groups=groups, mounts=mounts, events={})
    assert counter_files(made) == []
    assert OomEvidence(made, KernelLog(tmp_path / "none")).of(4711) is None
    assert OomEvidence(tmp_path / "nowhere").of(4711) is None


def test_a_counter_that_rose_is_evidence_for_one_trainer_alone(tmp_path: Path) -> None:
    made, counter = second_version(tmp_path / "self", kills=2)
    first, second = OomEvidence(made), OomEvidence(made)
    assert first.of(4711) is None
    counter.write_text(EVENTS.format(kills=3))
    assert first.of(4711) == "the cgroup's memory.events counts one more oom_kill (3)"
    assert second.of(4712) is None
    assert OomEvidence(made).of(4713) is None
    counter.write_text(EVENTS.format(kills=4))
    assert second.of(4712) == "the cgroup's memory.events counts one more oom_kill (4)"
    counter.unlink()
    assert second.of(4712) is None


@pytest.mark.parametrize("line", [OOM_LINE, KILLED_LINE])
def test_the_kernel_names_whom_it_killed(line: str) -> None:
    (named,) = victims(line).items()
    assert named == (4711, line.splitlines()[0].partition(";")[2])


@pytest.mark.parametrize(
    "line",
    [
        "6,1,2,-;python[4711]: segfault at 0 ip 0 sp 0 error 4",
        "12,1,2,-;Killed process 4711 (a liar with a facility of his own)",
        "6,1,2,-;python invoked oom-killer: gfp_mask=0xcc0, order=0, oom_score_adj=0",
        " Killed process 4711",
        "",
    ],
)
def test_other_lines_name_nobody(line: str) -> None:
    assert victims(line) == {}


def test_only_what_the_log_said_since_is_evidence(tmp_path: Path) -> None:
    made, counter = second_version(tmp_path / "self")
    path = tmp_path / "kmsg"
    path.write_text(KILLED_LINE)
    evidence = OomEvidence(made, KernelLog(path))
    assert evidence.of(4711) is None
    with path.open("a") as log:
        log.write(OOM_LINE + KILLED_LINE)
    said = evidence.of(4711)
    assert said is not None
    assert said.startswith("the kernel's log: Memory cgroup out of memory: Killed process 4711 (py")
    # The log names another: the kill that the group has counted was that one's.
    counter.write_text(EVENTS.format(kills=1))
    assert evidence.of(4712) is None
