"""A real stack to be hurt: `gradbook up`, and one more `gradbook worker` beside it."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
from pydantic import SecretStr
from sqlalchemy import Engine

from cli.stack.folder import is_free
from cli.stack.process import is_gone
from foundation.settings import DatabaseSettings
from services.database import make_engine
from tests.processes import ROOT
from tests.waiting import wait_until

SLOTS = 2
WHOLE_SECONDS = 120.0
"""From any damage until every part serves again, on a machine that has other things to do."""
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.1
PAUSE_SECONDS = 0.5

RECORDS = {
    "API": "run/api.json",
    "worker": "run/worker.json",
    "Valkey": "valkey/process.json",
    "PostgreSQL": "postgres/process.json",
}


@dataclass(frozen=True, slots=True)
class Times:
    """The stack's settings, in seconds: short, so that rounds are."""

    lease: float = 2.0
    reconcile: float = 0.5
    flush: float = 0.25
    grace: float = 5.0
    stall: float = 20.0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GRADBOOK_WORKER_LEASE_SECONDS": f"{self.lease:g}",
            "GRADBOOK_WORKER_RECONCILE_SECONDS": f"{self.reconcile:g}",
            "GRADBOOK_WORKER_FLUSH_SECONDS": f"{self.flush:g}",
            "GRADBOOK_WORKER_GRACE_SECONDS": f"{self.grace:g}",
            "GRADBOOK_WORKER_STALL_SECONDS": f"{self.stall:g}",
        }


class ChaosStack:
    """Both programs on one home, and whoever looks after them: what dies is started again.

    Args:
        folder: gets `home`, the logs of both, and what their processes leave in TMPDIR; a short
            path, for sockets have names of at most 107 bytes.
        times: the settings.
        environment: more of it for every process.

    """

    def __init__(self, folder: Path, times: Times, environment: Mapping[str, str]) -> None:
        self.folder, self.times = folder, times
        self.home = folder / "home"
        self.port = _quiet_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.restarts = {"up": 0, "second worker": 0}
        (folder / "tmp").mkdir()
        clean = {name: text for name, text in os.environ.items() if "GRADBOOK" not in name}
        ours = {"TMPDIR": str(folder / "tmp"), "GRADBOOK_HOME": str(self.home)}
        self._environment = {**clean, **ours, **times.environment, **environment}
        self._up: subprocess.Popen[bytes] | None = None
        self._second: subprocess.Popen[bytes] | None = None
        self._second_urls: dict[str, str] = {}
        self._engine: Engine | None = None
        self._engine_url = ""
        self._leaving = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Start everything; it is whole when this returns."""
        self._up = self._start_up()
        wait_until(self._answers, WHOLE_SECONDS, f"`up` is ready: see {self.folder}/up.log")
        self._keeper.start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until the API is ready and lists both workers, the ones that run now."""
        wait_until(self.is_whole, WHOLE_SECONDS, f"every part serves again: see {self.folder}")

    def is_whole(self) -> bool:
        pids = {part: self.pid(part) for part in (*RECORDS, "second worker", "up")}
        if None in pids.values() or not self._answers():
            return False
        workers = {pids["worker"], pids["second worker"]}
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            answer = httpx.get(f"{self.url}/v1/workers", timeout=5).json()
            return workers <= {worker["pid"] for worker in answer["items"]}
        return False

    def pid(self, part: str) -> int | None:
        """The process of `up`, `second worker`, or one of RECORDS; None where it is gone.

        What a killed `up` has left behind is gone, too: the next one ends it.
        """
        child = {"up": self._up, "second worker": self._second}
        if part in child:
            ours = child[part]
            return ours.pid if ours is not None and _is_there(ours) else None
        with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
            record = json.loads((self.home / RECORDS[part]).read_text())
            process = psutil.Process(int(record["pid"]))
            if not is_gone(process) and process.ppid() == self.pid("up"):
                return process.pid
        return None

    def urls(self) -> dict[str, str]:
        """Where database and broker are, as the home remembers them."""
        postgres, valkey = self.home / "postgres", self.home / "valkey"
        database = f"gradbook:{_word(postgres / 'password')}@127.0.0.1:{_word(postgres / 'port')}"
        broker = f":{_word(valkey / 'password')}@127.0.0.1:{_word(valkey / 'port')}"
        return {
            "GRADBOOK_DATABASE_URL": f"postgresql://{database}/gradbook",
            "GRADBOOK_BROKER_URL": f"redis://{broker}/0",
        }

    def engine(self) -> Engine:
        """The way to its database, wherever that is now."""
        url = self.urls()["GRADBOOK_DATABASE_URL"]
        if self._engine is None or url != self._engine_url:
            settings = DatabaseSettings(url=SecretStr(url))
            self._engine = make_engine(settings, application_name="gradbook chaos")
            self._engine_url = url
        return self._engine

    def stop(self) -> None:
        """End every process of it, whatever state it is in."""
        self._leaving.set()
        if self._engine is not None:
            self._engine.dispose()
        if self._keeper.is_alive():
            self._keeper.join()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        for child in (self._second, self._up):
            if child is not None and child.poll() is None:
                child.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(STOP_SECONDS)
        self._end_what_is_left()
        for child in (self._second, self._up):
            if child is not None:
                child.wait()

    def processes(self) -> list[psutil.Process]:
        """Every process that was given the home, or works in it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                known = [process.environ().get("GRADBOOK_HOME", ""), process.cwd()]
                ours = any(text.startswith(str(self.home)) for text in known)
                if ours and not is_gone(process):
                    found.append(process)
        return found

    def _end_what_is_left(self) -> None:
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def _keep(self) -> None:
        """Start again what died of ours, as a host's service manager does."""
        second_due = 0.0
        while not self._leaving.wait(LOOK_SECONDS):
            if self._up is not None and self._up.poll() is not None:
                self.restarts["up"] += 1
                self._up = self._start_up()
            urls = self._known_urls()
            if self._second is not None and self._second.poll() is None:
                if urls not in ({}, self._second_urls):
                    # A server came back on another port.
                    self._second.terminate()
                second_due = time.monotonic() + PAUSE_SECONDS
            elif urls and time.monotonic() >= second_due:
                self.restarts["second worker"] += self._second is not None
                self._second_urls = urls
                self._second = self._start_second(urls)

    def _known_urls(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            return self.urls()
        return {}

    def _start_up(self) -> subprocess.Popen[bytes]:
        options = ["--home", str(self.home), "--port", str(self.port), "--slots", str(SLOTS)]
        return self._start("up", {}, "up", *options)

    def _start_second(self, urls: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return self._start("second", urls, "worker", "--slots", str(SLOTS))

    def _start(self, log: str, urls: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.main", *arguments],
                cwd=ROOT,
                env={**self._environment, **urls},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches us alone, and we end it.
                start_new_session=True,
            )

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _is_there(child: subprocess.Popen[bytes]) -> bool:
    """Whether it runs: one whose threads are still being killed can't be waited for yet."""
    with contextlib.suppress(psutil.Error):
        return child.poll() is None and not is_gone(psutil.Process(child.pid))
    return False


def _word(path: Path) -> str:
    return path.read_text().strip()


def _quiet_port() -> int:
    """A port that no outgoing connection is given while the API is down."""
    candidates = random.SystemRandom().sample(range(20_000, 32_000), 200)
    return next(port for port in candidates if is_free(port))
