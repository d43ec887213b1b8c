"""One request is one transaction, committed before the answer leaves."""

from pathlib import Path

import httpx
from sqlalchemy import Engine, func, select, text

from api.dependencies import AfterCommitDependency, ConnectionDependency
from api.main import create_app
from foundation.settings import Settings
from models.tables import jobs
from services.broker import make_celery, tickets_waiting
from services.database import transaction
from tests.serving import serving
from tests.submitted import Crew, spec_of, submit

# Checked at the commit, and not before: the rows are in, the route has returned.
REFUSE_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refused at the commit';
END
$$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR DELETE ON jobs
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def refuse_commits(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text(REFUSE_AT_COMMIT))


def test_a_commit_that_fails_is_never_answered_with_201(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    refuse_commits(engine)
    for path, body in (("/v1/jobs", spec_of()), ("/v1/jobs/batch", {"items": [spec_of()]})):
        answer = api.post(path, json=body, headers={"Connection": "close"})
        assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
        assert answer.headers["content-type"] == "application/problem+json"
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 0
    app = make_celery(settings.broker)
    assert tickets_waiting(app, "default") == 0
    app.close()


def test_a_delete_that_is_not_committed_keeps_the_files(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.end(job_id)
    file = Path(settings.artifacts_url) / job_id / "weights.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"w")
    refuse_commits(engine)
    answer = api.delete(f"/v1/jobs/{job_id}", headers={"Connection": "close"})
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert file.exists()
    assert api.get(f"/v1/jobs/{job_id}").status_code == httpx.codes.OK


def test_what_is_to_follow_a_commit_finds_it_done_and_follows_no_rollback(
    settings: Settings, engine: Engine
) -> None:
    found: list[int] = []

    def count() -> None:
        with transaction(engine) as connection:
            found.append(connection.execute(text("SELECT count(*) FROM workers")).scalar_one())

    app = create_app(settings)

    @app.post("/touch")
    def touch(
        connection: ConnectionDependency, after: AfterCommitDependency, *, fail: bool
    ) -> None:
        connection.execute(
            text(
                "INSERT INTO workers (name, host, pid, slots, devices, queues)"
                " VALUES ('w', 'h', 1, 1, '[]', '{}')"
            )
        )
        after.append(count)
        if fail:
            raise RuntimeError

    with serving(settings, app) as api:
        api.post("/touch?fail=true", headers={"Connection": "close"})
        assert found == []
        api.post("/touch?fail=false")
        assert found == [1]
