"""Removes what deleted jobs have left, some rows at a time, so that nobody waits for it."""

import time

from sqlalchemy import Engine

from foundation.logging import get_logger
from services.database import transaction
from services.remains import sweep
from worker.rounds import Round
from worker.shutdown import Shutdown

log = get_logger("worker")

LOOK_SECONDS = 5.0
BREATH_SECONDS = 0.02
"""Between two batches: flushes of others, and vacuum, come first."""


def sweeper(engine: Engine, shutdown: Shutdown) -> Round:
    """Sweeps until nothing is left; where the worker leaves, another goes on."""

    def step() -> None:
        began, batches = time.monotonic(), 0
        while not shutdown.begun and _sweep_once(engine):
            batches += 1
            time.sleep(BREATH_SECONDS)
        if batches:
            seconds = round(time.monotonic() - began, 3)
            log.info("remains.swept", batches=batches, seconds=seconds)

    return Round("sweeper", LOOK_SECONDS, step)


def _sweep_once(engine: Engine) -> bool:
    with transaction(engine) as connection:
        return sweep(connection)
