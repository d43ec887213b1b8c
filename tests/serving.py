"""The API in this process: a real uvicorn on a real socket, on a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import httpx
import uvicorn
from fastapi import FastAPI

from api.main import create_app
from foundation.settings import Settings
from tests.processes import free_port
from tests.waiting import wait_until

START_SECONDS = 30


class _Server(uvicorn.Server):
    """Looks every 10 ms whether it is to leave, not every 100: it does so once a test."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def serving(settings: Settings, app: FastAPI | None = None) -> Iterator[httpx.Client]:
    """Serve the app (the whole service where none is given); yields a client bound to it."""
    port = free_port()
    config = uvicorn.Config(
        app or create_app(settings),
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=5,
        ws="none",
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), START_SECONDS, "uvicorn starts")
        assert server.started, "uvicorn did not start"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
