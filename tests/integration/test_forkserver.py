"""The process that trainers are forked from is proved before it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT

BUSY = """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
CHECK = """
import worker.forkserver as forkserver
forkserver.PRELOAD = {preload!r}
print(forkserver.start_forkserver())
"""


def start(preload: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHECK.format(preload=preload)],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_real_preload_imports_and_computes_nothing(tmp_path: Path) -> None:
    done = start("worker.training.preload", tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 0


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "does not import"),
        (BUSY, "threads"),
    ],
)
def test_a_forkserver_that_is_unfit_is_refused_with_the_reason(
    tmp_path: Path, source: str, reason: str
) -> None:
    (tmp_path / "unfit_preload.py").write_text(source)
    done = start("unfit_preload", tmp_path)
    assert done.returncode != 0
    assert "ForkserverUnfit" in done.stderr
    assert reason in done.stderr
