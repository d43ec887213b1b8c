"""A job's progress in words, and following one through an API that goes away."""

import threading
import time

import pytest

from cli.client import Client
from cli.errors import ServiceRefused
from cli.progress import (
    JobFailed,
    JobLeft,
    follow_job,
    progress_line,
    require_success,
    watch_job,
    where,
)
from tests.processes import free_port
from tests.unit.answering import a_job, answering, as_json, problem


def _no_pause(_seconds: float) -> None:
    time.sleep(0.005)


def test_a_running_job_is_told_by_epoch_batch_iteration_loss_speed_and_time_left() -> None:
    assert progress_line(a_job()) == (
        "epoch 3/10 batch 17/196  iteration 409/1960  loss 0.41  310 it/s  5.0 s left"
    )


def test_a_program_of_unknown_length_is_told_by_what_it_has_done() -> None:
    progress = a_job()["progress"] | {"iterations_total": None, "fraction": None}
    progress |= {"eta_seconds": None}
    plan = dict.fromkeys(a_job()["plan"])
    job = a_job(progress=progress, plan=plan)
    assert progress_line(job) == "epoch 3 batch 17  iteration 409  loss 0.41  310 it/s"


def test_a_job_that_has_not_begun_to_train_tells_its_phase() -> None:
    progress = a_job()["progress"] | {"phase": "load", "iteration": 0}
    assert where(a_job(progress=progress)) == "running, load"


def test_an_epoch_that_has_begun_has_no_batch_yet() -> None:
    progress = a_job()["progress"] | {"epoch": 4, "batch": 0}
    assert where(a_job(progress=progress)) == "epoch 4/10"


@pytest.mark.parametrize(
    ("waiting_for", "position", "told"),
    [
        (None, None, "queued: a worker takes it soon"),
        (
            {"reason": "no_worker", "detail": "no worker seen for 15 s"},
            2,
            "queued, place 2: no worker seen for 15 s",
        ),
        ({"reason": "turn", "detail": ""}, None, "queued: turn"),
    ],
)
def test_a_queued_job_tells_what_it_waits_for(
    waiting_for: object, position: int | None, told: str
) -> None:
    job = a_job(state="queued", waiting_for=waiting_for, queue_position=position)
    assert where(job) == told


def test_only_a_job_that_succeeded_is_a_success() -> None:
    require_success(a_job(state="succeeded", stop_reason="epochs"))
    failed = a_job(
        state="failed", stop_reason="diverged", error={"type": "Diverged", "message": "loss NaN"}
    )
    with pytest.raises(JobFailed, match=r"failed \(diverged\): loss NaN"):
        require_success(failed)
    with pytest.raises(JobFailed, match="cancelled"):
        require_success(a_job(state="cancelled", stop_reason="cancelled"))


def test_a_job_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    states = iter(["running"] * 3 + ["succeeded"])
    with (
        answering(lambda *_: as_json(a_job(state=next(states)))) as url,
        Client(url) as client,
    ):
        ended = follow_job(client, a_job(state="queued"), pause=_no_pause)
    assert ended["state"] == "succeeded"
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "queued: a worker takes it soon",
        "epoch 3/10 batch 17/196",
        "succeeded",
    ]


def test_what_went_wrong_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "DatasetMissing", "message": "no cifar10 here"}
    failed = a_job(state="failed", stop_reason="error", error=error)
    with Client("http://127.0.0.1:1") as client, pytest.raises(JobFailed, match="no cifar10 here"):
        require_success(watch_job(client, failed))
    assert capsys.readouterr().err.startswith("failed (error)  iteration")


def test_a_job_that_is_left_goes_on_and_its_watcher_learns_how_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.progress.time.monotonic", interrupted)
    job = a_job()
    with Client("http://127.0.0.1:1") as client, pytest.raises(JobLeft) as left:
        watch_job(client, job)
    assert left.value.exit_code == 130
    assert f"goes on: `gradbook watch {job['id']}`" in str(left.value)


def test_an_api_that_starts_again_is_waited_for() -> None:
    port = free_port()
    away = threading.Event()

    def pause(_seconds: float) -> None:
        away.set()
        time.sleep(0.005)

    ended = []
    with Client(f"http://127.0.0.1:{port}") as client:
        follower = threading.Thread(
            target=lambda: ended.append(follow_job(client, a_job(), pause=pause))
        )
        follower.start()
        assert away.wait(10)
        # First a proxy's word for it, then the service.
        answers = iter([problem(503, title="database away"), as_json(a_job(state="succeeded"))])
        with answering(lambda *_: next(answers), port):
            follower.join(20)
    assert [job["state"] for job in ended] == ["succeeded"]


def test_a_job_that_is_gone_is_not_waited_for() -> None:
    with (
        answering(lambda *_: problem(404, title="there is no such job")) as url,
        Client(url) as client,
        pytest.raises(ServiceRefused, match="there is no such job"),
    ):
        follow_job(client, a_job(), pause=_no_pause)
