"""A small HTTP server that answers what a test tells it: the other end of the terminal's client."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cli.answers import Job

# Asked with the method and the path; answers a status, a content type and a body.
Answer = Callable[[str, str], tuple[int, str, bytes]]


@contextmanager
def answering(answer: Answer, port: int = 0) -> Iterator[str]:
    """Serve on a loopback port for as long as this lasts; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def as_json(value: object, status: int = 200) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(value).encode()


def problem(status: int, **members: object) -> tuple[int, str, bytes]:
    body = json.dumps({"status": status, **members}).encode()
    return status, "application/problem+json", body


def a_job(**changes: Any) -> Job:  # noqa: ANN401 - any member of the job
    """A job as the contract shows one, on its way through 1,960 iterations."""
    job: dict[str, Any] = {
        "id": "0192d3f0-0000-7000-8000-000000000001",
        "name": "",
        "project": "default",
        "notes": "",
        "tags": {},
        "state": "running",
        "wanted": None,
        "priority": 0,
        "waiting_for": None,
        "queue_position": None,
        "reproducible": True,
        "spec": {"dataset": {"name": "cifar10"}, "network": {"name": "lenet5"}, "epochs": 10},
        "spec_sha256": "0" * 64,
        "plan": {
            "epochs": 10,
            "batches_per_epoch": 196,
            "iterations_total": 1960,
            "formula": "1,960",
            "network": {"parameters": 62006, "layers": []},
        },
        "progress": {
            "phase": "train",
            "epoch": 3,
            "batch": 17,
            "iteration": 409,
            "iterations_total": 1960,
            "fraction": 0.2087,
            "iterations_per_second": 310.2,
            "eta_seconds": 5.0,
        },
        "latest": {"loss": 0.41, "lr": 0.05, "at": "2026-01-01T00:00:00Z"},
        "summary": {
            **dict.fromkeys(("final_loss", "best_loss", "train_loss", "train_accuracy")),
            **dict.fromkeys(("val_loss", "val_accuracy", "test_loss", "test_accuracy", "best")),
        },
        "book": {
            "rows": 409,
            "expected": 409,
            "complete": True,
            "loss_sha256": None,
            "weights_sha256": None,
        },
        "attempts": [],
        "stop_reason": None,
        "error": None,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": "2026-01-01T00:00:01Z",
        "finished_at": None,
    }
    return job | changes  # type: ignore[return-value]
