"""README's session, run again: what it shows is what the service prints."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from foundation.settings import Settings
from tests.processes import ROOT, api_process, worker_process
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

PRINTED_AT = "http://127.0.0.1:8000"
PROMPT = "$ "
JOB = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
NAME = re.compile(r'"[a-z_0-9]+"(?=:)')


def _commands() -> list[tuple[str, str]]:
    """The commands of each block, and what README says that they print."""
    session = (ROOT / "README.md").read_text().split("## A session")[1].split("\n## ")[0]
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", session, re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        commands = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
        printed = [line for line in lines if not line.startswith(PROMPT)]
        found.append(("\n".join(commands), "\n".join(printed)))
    return found


def _shell(url: str, folder: Path) -> Callable[..., str]:
    (folder / "examples").symlink_to(ROOT / "examples")

    def run(command: str, job: str = "") -> str:
        here = command.replace(PRINTED_AT, url).replace("/tmp/", f"{folder}/")  # noqa: S108
        script = f"JOB={job}\n{here}"
        answer = subprocess.run(
            ["/bin/bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True
        )
        return answer.stdout.replace("\r", "").strip()

    return run


@on_newest_postgres
def test_the_session_in_the_readme_can_be_typed(settings: Settings, tmp_path: Path) -> None:
    plan, submit, poll, iterations, epochs = _commands()
    with (
        worker_process(settings, tmp_path / "worker.log"),
        api_process(settings, tmp_path / "api.log") as api,
    ):
        run = _shell(str(api.base_url), tmp_path)
        assert run(plan[0]) == plan[1]

        submitted = run(submit[0])
        job = JOB.findall(submitted)[0]
        assert JOB.sub("", submitted) == JOB.sub("", submit[1])

        # A job that has not come to its first row shows no "latest" yet.
        polled = NAME.findall(run(poll[0]))
        assert '"progress"' in polled
        assert polled == NAME.findall(poll[1])[: len(polled)]

        def over() -> bool:
            return bool(api.get(f"/v1/jobs/{job}").json()["finished_at"])

        wait_until(over, 120, "the job of the session ends")
        for command, printed in (iterations, epochs):
            assert NAME.findall(run(command, job)) == NAME.findall(printed)
