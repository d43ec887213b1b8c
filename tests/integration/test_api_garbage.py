"""What an API process's collections of garbage go through, and what its requests leave to them."""

import json
import subprocess
import sys

import pytest

from foundation.settings import Settings
from tests.processes import ROOT, environment_of
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

REQUESTS = 50
# The app as uvicorn gets it, in a process that is there for nothing else. What asks it lies in that
# process too, so it is a client that leaves no garbage itself.
SERVED = """
import gc, http.client, json, sys
from api.main import app_from_environment
from foundation.settings import Settings
from tests.serving import serving
from tests.submitted import submit

def ask(wire):
    wire.request("GET", "/v1/jobs")
    answer = wire.getresponse()
    assert answer.status == 200 and json.loads(answer.read())["items"]

with serving(Settings(), app_from_environment()) as api:
    submit(api)
    wire = http.client.HTTPConnection(api.base_url.host, api.base_url.port)
    for _ in range(3):
        ask(wire)
    gc.collect()
    gc.disable()
    seen = {"spared": gc.get_freeze_count(), "gone_through": len(gc.get_objects())}
    for _ in range(int(sys.argv[1])):
        ask(wire)
    seen["left"] = gc.collect()
    wire.close()
print(json.dumps(seen))
"""


@pytest.fixture
def seen(settings: Settings) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(REQUESTS)],
        cwd=ROOT,
        env=environment_of(settings),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_collections_spare_what_was_loaded_and_requests_leave_them_nothing(
    seen: dict[str, int],
) -> None:
    # What is loaded, some 170,000 objects, against what came with the requests.
    assert seen["gone_through"] < seen["spared"] / 5
    # One cycle a request would be a dozen objects each.
    assert seen["left"] < REQUESTS
