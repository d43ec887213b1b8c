"""A process that the kernel really kills for want of memory, in a small group of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ROOT

LIMIT_BYTES = 64 << 20
SECONDS = 60
FIRST_VERSION = Path("/sys/fs/cgroup/memory")
SECOND_VERSION = Path("/sys/fs/cgroup")

# Never more than 512 MiB, should the limit not hold.
PROGRAM = """
import json, os, sys
from pathlib import Path
from worker.oom import KernelLog, OomEvidence, first_pid_namespace

def run(ending):
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/oom_score_adj").write_text("1000")
        ending()
        os._exit(0)
    return pid, os.waitpid(pid, 0)[1]

sys.stdin.readline()
deaf = KernelLog(Path("/nonexistent"))
counted, bare, heard = OomEvidence(log=deaf), OomEvidence(log=deaf), OomEvidence()
pid, status = run(lambda: [b"x" * (4 << 20) for _ in range(128)])
told = {"signal": os.WTERMSIG(status), "counted": counted.of(pid), "heard": heard.of(pid)}
pid, status = run(lambda: os.kill(os.getpid(), 9))
told["bare"] = [bare.of(pid), heard.of(pid), OomEvidence().of(pid)]
told["readable"] = first_pid_namespace() and os.access("/dev/kmsg", os.R_OK)
print(json.dumps(told))
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group that may hold 64 MiB, where this account may make one."""
    first = (FIRST_VERSION / "memory.limit_in_bytes").exists()
    folder = (FIRST_VERSION if first else SECOND_VERSION) / f"gradbook-test-{os.getpid()}"
    limit = folder / ("memory.limit_in_bytes" if first else "memory.max")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit.write_text(str(LIMIT_BYTES))
        with contextlib.suppress(OSError):
            (folder / "memory.swap.max").write_text("0")
        yield folder
    except OSError as error:
        pytest.skip(f"control groups have no limit of memory here: {error}")
    finally:
        folder.rmdir()


def test_a_kill_for_want_of_memory_is_told_from_a_bare_one(small_group: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        (small_group / "cgroup.procs").write_text(str(process.pid))
        answer, _ = process.communicate("go\n", timeout=SECONDS)
    told = json.loads(answer)
    assert told["signal"] == signal.SIGKILL
    assert told["counted"] in {
        "the cgroup's memory.events counts one more oom_kill (1)",
        "the cgroup's memory.oom_control counts one more oom_kill (1)",
    }
    if told["readable"]:
        assert "Killed process" in told["heard"]
    else:
        assert told["heard"] is None
    assert told["bare"] == [None, None, None]
