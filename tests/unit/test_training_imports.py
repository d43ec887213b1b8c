"""What a trainer loads, and what it must not: each looked at in a fresh process."""

import json
import os
import subprocess
import sys
from typing import Any

LOOK = """
import importlib, json, os, sys
importlib.import_module(sys.argv[1])
print(json.dumps({"modules": list(sys.modules), "threads": len(os.listdir("/proc/self/task"))}))
"""


def after_importing(module: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, module],
        # As the forkserver has it: OpenBLAS would start its threads when it is imported.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_interface_of_training_loads_no_torch() -> None:
    assert "torch" not in after_importing("worker.training.sink")["modules"]


def test_the_preload_has_what_a_trainer_needs_no_more_and_starts_no_thread() -> None:
    found = after_importing("worker.training.preload")
    loaded = set(found["modules"])
    assert {"torch", "torch._dynamo", "pooch", "safetensors.torch"} <= loaded
    assert not loaded & {"sklearn", "sqlalchemy", "psycopg", "celery", "fastapi", "services"}
    assert found["threads"] == 1
