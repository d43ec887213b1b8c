"""Asking the API whether it is ready, over HTTP as everybody else does."""

import http.client
import json
from typing import Any

_TIMEOUT_SECONDS = 5
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104


def is_ready(host: str, port: int) -> bool:
    status, _ = _get(host, port, "/readyz")
    return status == http.client.OK


def serving_workers(host: str, port: int) -> dict[int, int]:
    """The workers that the API knows: the process number of each, and how many jobs it runs."""
    status, answer = _get(host, port, "/v1/workers")
    if status != http.client.OK:
        return {}
    return {worker["pid"]: len(worker["running"]) for worker in json.loads(answer)["items"]}


def address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _get(host: str, port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(
        _EVERYWHERE.get(host, host), port, timeout=_TIMEOUT_SECONDS
    )
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
