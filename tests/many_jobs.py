"""Very many jobs, made by the server in one statement a table."""

import json
from typing import Any

from sqlalchemy import Connection, text

from foundation.settings import LimitsSettings
from services.submission import draft_job
from tests.submitted import spec_of

# Copied as they lie there, already compressed.
_PLANS = (
    text("CREATE TEMPORARY TABLE plans (number bigint PRIMARY KEY, plan jsonb) ON COMMIT DROP"),
    text("""
        INSERT INTO plans
        SELECT n, CASE WHEN n = 0 THEN plan ELSE jsonb_set(plan, '{network,layers,0,name}',
            to_jsonb('layer ' || n)) END
        FROM generate_series(0, :networks - 1) AS n, CAST(:plan AS jsonb) AS plan
    """),
)
# Each job has a spec of its own, as a sweep's have. One in ten failed, one in twenty diverged, one
# in a hundred has no numbers yet.
_JOBS = text("""
    INSERT INTO jobs (id, name, project, queue, notes, tags, priority, max_attempts, device, state,
        stop_reason, spec, spec_sha256, plan, reproducible, created_at, started_at, finished_at)
    SELECT gen_random_uuid(), 'job ' || lpad(i::text, 6, '0'), 'project-' || i % 200, 'default', '',
        jsonb_build_object('team', 'team ' || i % 50, 'run', i::text), i % 7, 3, 'auto', state,
        CASE state WHEN 'failed' THEN 'error' WHEN 'succeeded' THEN 'epochs' END,
        CAST(:spec AS jsonb) || jsonb_build_object(
            'name', 'job ' || i, 'seed', i, 'optimizer', jsonb_build_object('name', 'adamw',
                'lr', (i % 1000 + 1) / 1e4::float8, 'betas', '[0.9, 0.999]'::jsonb,
                'eps', 1e-8::float8, 'weight_decay', i % 10 / 1e3::float8, 'amsgrad', false,
                'no_decay', '[]'::jsonb)),
        lpad(to_hex(i), 64, '0'), (SELECT plan FROM plans WHERE number = i % :networks), true,
        moment, moment, CASE WHEN state <> 'running' THEN moment + interval '1 minute' END
    FROM generate_series(1, :count) AS i,
        LATERAL (SELECT timestamptz '2026-01-01 00:00Z' + i * interval '1 minute' AS moment,
            CASE WHEN i % 100 = 0 THEN 'running' WHEN i % 10 = 0 THEN 'failed' ELSE 'succeeded' END
                AS state) AS drawn
""")
_PROGRESS = text("""
    INSERT INTO progress (job_key, phase, epoch, batch, iteration, rows, latest_loss, latest_lr,
        latest_at)
    SELECT key, 'done', 2, 23, 46, 46, (key * 7919 % 100003) / 1e5::float8, 1e-3::float8, now()
    FROM jobs
""")
_SUMMARIES = text("""
    INSERT INTO summaries (job_key, best_loss, train_loss, train_accuracy, test_loss, test_accuracy)
    SELECT key, loss, CASE WHEN key % 20 = 3 THEN 'NaN' ELSE loss END, 1 - loss, loss, 1 - loss
    FROM jobs, LATERAL (SELECT
        CASE WHEN key % 100 <> 0 THEN (key * 104729 % 99991) / 1e5::float8 END AS loss) AS drawn
""")


def make_jobs(
    connection: Connection, count: int, network: str | None = None, networks: int = 1
) -> None:
    """Book so many jobs, and let the planner know of them.

    Args:
        connection: a transaction's.
        count: how many.
        network: whole specs and plans of this one; without it only what a list has to have.
        networks: so many different ones are made of it, of which each has as many jobs.

    """
    spec, plan = ({}, {"iterations_total": 46}) if network is None else _documents(network)
    create, fill = _PLANS
    connection.execute(create)
    connection.execute(fill, {"networks": networks, "plan": json.dumps(plan)})
    connection.execute(_JOBS, {"count": count, "spec": json.dumps(spec), "networks": networks})
    connection.execute(_PROGRESS)
    connection.execute(_SUMMARIES)
    for table in ("jobs", "progress", "summaries", "spec_outlines", "plan_outlines"):
        connection.execute(text(f"ANALYZE {table}"))


def _documents(network: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = spec_of(dataset={"name": "cifar10"}, network={"name": network})
    draft = draft_job(spec, LimitsSettings())
    return draft.resolved, {**draft.plan.model_dump(mode="json"), "same_as": []}
