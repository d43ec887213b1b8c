"""The `gradbook` command against a real API, a real worker and a real database."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from cli.answers import Job
from foundation.settings import Settings
from migrations.run import migrate
from services.database import transaction
from tests.processes import ROOT, api_process, environment_of, free_port, worker_process
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

Command = Callable[..., subprocess.CompletedProcess[str]]

SPEC: dict[str, Any] = {
    "name": "three epochs",
    "dataset": {"name": "synthetic", "shape": [1, 8, 8], "classes": 4, "train_samples": 100},
    "network": {"name": "mlp"},
    "batch_size": 32,
    "epochs": 3,
}
# Long enough that no test sees its end.
ENDLESS = SPEC | {"name": "endless", "epochs": 1_000_000}


def _runner(settings: Settings, url: str) -> Command:
    environment = environment_of(settings, {"GRADBOOK_URL": url})

    def run(*arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=ROOT,
            env=environment,
            input="" if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run


def _ageless(shown: str) -> str:
    """What is shown without how long ago things were: that grows between two looks."""
    return re.sub(r"[\d.]+ \w+ ago", "", shown)


@pytest.fixture
def service(settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    with api_process(settings, tmp_path / "api.log") as client:
        yield client


@pytest.fixture
def gradbook(settings: Settings, service: httpx.Client) -> Command:
    return _runner(settings, str(service.base_url).rstrip("/"))


def _refused(done: subprocess.CompletedProcess[str]) -> str:
    """What a refused command told; it ended with 1 and without a traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search("^gradbook: ", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    return done.stderr


def _done(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@on_newest_postgres
def test_a_plan_is_shown_as_text_and_as_the_apis_own_answer(gradbook: Command) -> None:
    cifar = {"dataset": {"name": "cifar10"}, "network": {"name": "lenet5"}, "epochs": 10}
    shown = _done(gradbook("plan", "-", "--set", "batch_size=256", given=cifar))
    assert re.search(r"^an epoch +196 batches$", shown, re.MULTILINE)
    assert re.search(r"^last batch +80 samples$", shown, re.MULTILINE)
    assert re.search(r"^iterations .*1,960$", shown, re.MULTILINE)
    assert re.search(r"^conv1\t\d+ x \d+ x \d+\t\d", shown, re.MULTILINE)
    answer = json.loads(_done(gradbook("plan", "-", "--json", given=cifar | {"batch_size": 250})))
    assert (answer["batches_per_epoch"], answer["last_batch_size"]) == (200, 250)
    warned = gradbook("plan", "-", "--set", "batch_size=100", given=cifar)
    assert "warning: batch_size: " in warned.stderr


@on_newest_postgres
def test_a_job_is_submitted_listed_and_shown(gradbook: Command, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "name: from a file\ndataset: {name: digits}\nnetwork: {name: mlp}\nepochs: 2\n"
        "optimizer: {name: adamw, lr: 1e-3}\n"
    )
    job_id = _done(gradbook("submit", str(file))).strip()
    titles, row = (line.split("\t") for line in _done(gradbook("ls")).splitlines())
    listed = dict(zip(titles, row, strict=True))
    assert listed["id"] == job_id
    assert (listed["name"], listed["state"]) == ("from a file", "queued")
    job: Job = json.loads(_done(gradbook("show", job_id, "--json")))
    assert job["spec"]["optimizer"]["lr"] == 0.001
    shown = _done(gradbook("show", job_id[:13]))
    for name in (job_id, "last"):
        assert _ageless(_done(gradbook("show", name))) == _ageless(shown)
    waiting = job["waiting_for"]
    assert waiting
    assert re.search(r"^state +queued", shown, re.MULTILINE)
    assert waiting["detail"] in shown
    assert _done(gradbook("ls", "--state", "running")).splitlines() == ["\t".join(titles)]
    found = _done(gradbook("ls", "--filter", "spec.epochs > 0", "--order-by", "-name,loss"))
    assert len(found.splitlines()) == 2
    assert "at character 6: " in _refused(gradbook("ls", "--filter", "loss ~ 1"))


@on_newest_postgres
def test_a_job_is_submitted_from_another_with_something_changed(gradbook: Command) -> None:
    first: Job = json.loads(_done(gradbook("submit", "-", "--json", given=SPEC)))
    second: Job = json.loads(
        _done(gradbook("submit", "--from", first["id"], "--set", "optimizer.lr=1e-2", "--json"))
    )
    assert second["spec"]["parent"] == first["id"]
    assert second["spec"]["optimizer"]["lr"] == 0.01
    assert second["spec_sha256"] != first["spec_sha256"]
    same: Job = json.loads(_done(gradbook("submit", "--from", first["id"], "--json")))
    assert same["spec_sha256"] == first["spec_sha256"]


@on_newest_postgres
def test_a_bad_spec_is_refused_with_the_place_and_nothing_is_stored(gradbook: Command) -> None:
    for change, told in (
        ("batch_size=0", "batch_size: "),
        ("optimizer.learning_rate=0.1", "lr"),
        ("network={layers: [{conv: {channels: 2, kernel: 99}}]}", "conv1"),
        ("epochs=many", "epochs: "),
    ):
        assert told in _refused(gradbook("submit", "-", "--set", change, given=SPEC))
    assert len(_done(gradbook("ls")).splitlines()) == 1


@on_newest_postgres
def test_what_cannot_be_done_is_told_in_words(gradbook: Command) -> None:
    missing = "0192d3f0-0000-7000-8000-000000000001"
    for command in ("show", "watch", "logs", "stop", "verify"):
        assert missing in _refused(gradbook(command, missing))
    assert "is no job's id" in _refused(gradbook("cancel", "no-id"))
    job_id = _done(gradbook("submit", "-", given=SPEC)).strip()
    for command in ("resume", "retry", "archive"):
        assert "it is queued" in _refused(gradbook(command, job_id))
    assert "still being written" in _refused(gradbook("verify", job_id))


@on_newest_postgres
def test_a_job_is_put_aside_and_taken_up_again(gradbook: Command) -> None:
    job_id = _done(gradbook("submit", "-", given=SPEC)).strip()
    for command, state in (
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("retry", "queued"),
    ):
        assert _done(gradbook(command, "last")).strip() == f"{job_id} {state}"
    assert "it is queued" in _refused(gradbook("retry", job_id))


@on_newest_postgres
def test_a_cancelled_job_is_no_success_to_its_watcher(gradbook: Command) -> None:
    job_id = _done(gradbook("submit", "-", given=SPEC)).strip()
    assert _done(gradbook("cancel", job_id)).startswith(f"{job_id} cancelled")
    assert "cancelled" in _refused(gradbook("watch", job_id))
    assert "cancelled" in _refused(gradbook("cancel", job_id))


def test_without_a_service_the_cure_is_named(tmp_path: Path) -> None:
    gradbook = _runner(Settings(home=tmp_path), f"http://127.0.0.1:{free_port()}")
    assert "is `gradbook up` running?" in _refused(gradbook("ls"))


def test_without_its_servers_a_role_says_what_is_not_set(tmp_path: Path) -> None:
    gradbook = _runner(Settings(home=tmp_path), "")
    for role in ("api", "worker", "migrate"):
        assert "GRADBOOK_DATABASE_URL is not set" in _refused(gradbook(role))


@on_newest_postgres
def test_a_role_refuses_an_old_schema_in_words(settings: Settings, engine: Engine) -> None:
    migrate(engine, "base")
    gradbook = _runner(settings, "")
    for role in ("api", "worker"):
        assert "run `gradbook migrate`" in _refused(gradbook(role))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE remains ()"))
    assert "stopped on its way to revision 0003" in _refused(gradbook("migrate"))
    with transaction(engine) as connection:
        connection.execute(text("DROP TABLE remains"))
    assert "at revision" in _done(gradbook("migrate"))


@on_newest_postgres
def test_a_job_is_watched_to_its_end_and_its_book_is_verified(
    gradbook: Command, settings: Settings, tmp_path: Path
) -> None:
    with worker_process(settings, tmp_path / "worker.log"):
        watched = gradbook("submit", "-", "--watch", given=SPEC)
        job_id = _done(watched).strip()
        assert "iteration 12/12" in watched.stderr.splitlines()[-1]
        _done(gradbook("watch", job_id))
        _done(gradbook("logs", job_id))
        shown = _done(gradbook("show", job_id))
        assert re.search(r"^state +succeeded \(epochs\)$", shown, re.MULTILINE)
        assert re.search(r"^book +12 of 12 rows, complete$", shown, re.MULTILINE)
        for name in ("finished", "took"):
            assert re.search(rf"^{name} +\d", shown, re.MULTILINE)
        assert re.search(r"\t1 to 12\t", shown)
        verified = _done(gradbook("verify", job_id)).splitlines()
        assert [line.split(":")[0] for line in verified] == [
            "ok    rows",
            "ok    loss_sha256",
            "ok    weights_sha256",
        ]
        assert not any("none in the book" in line for line in verified)


@on_newest_postgres
def test_a_job_that_failed_before_its_first_row_shows_none(
    gradbook: Command, settings: Settings, tmp_path: Path
) -> None:
    in_the_way = settings.home / "datasets" / "cifar10"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()
    spec = SPEC | {"dataset": {"name": "cifar10"}, "network": {"name": "linear"}, "epochs": 1}
    with worker_process(settings, tmp_path / "worker.log"):
        told = _refused(gradbook("submit", "-", "--watch", given=spec))
        message = json.loads(_done(gradbook("show", "last", "--json")))["error"]["message"]
        assert told.count(message) == 1
        shown = _done(gradbook("show", "last"))
    assert re.search("^book +no rows$", shown, re.MULTILINE)
    assert re.search(r"^1\t.*\t-\t[^\t]+ ago\t", shown, re.MULTILINE)


@on_newest_postgres
def test_a_running_job_is_stopped_and_counts_as_a_success(
    gradbook: Command, settings: Settings, service: httpx.Client, tmp_path: Path
) -> None:
    with worker_process(settings, tmp_path / "worker.log"):
        job_id = _done(gradbook("submit", "-", given=ENDLESS)).strip()

        def has_rows() -> bool:
            progress = service.get(f"/v1/jobs/{job_id}").json()["progress"]
            return bool(progress["iteration"])

        wait_until(has_rows, 30, "the first row")
        assert _done(gradbook("stop", job_id)).startswith(job_id)
        _done(gradbook("watch", job_id))
        assert "(stopped)" in _done(gradbook("show", job_id))
        _done(gradbook("verify", job_id))
