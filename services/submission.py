"""Submitting jobs: the spec is checked and planned first, then all of it is one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Text, bindparam, select, text

from foundation.ids import new_id
from foundation.settings import LimitsSettings
from models.domain.entrypoints import entrypoints_in, packages_in
from models.domain.errors import Breach, Location, SpecInvalid
from models.domain.plan import Plan, ProgramPlan, plan_job
from models.domain.spec import JobSpec, ProgramSpec, parse_job, resolve, spec_sha256
from models.schemas.job import Job
from models.tables import jobs
from services.jobs import find_jobs
from services.jsonb import write_json
from services.offers import not_offered

MOST_IN_A_BATCH = 100
MOST_UNKNOWN = 20
"""Names of code that one refusal tells of: to find what was meant by each costs a look at all."""
MOST_SAME = 20
"""How many jobs with the same spec a plan names, newest first."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that could be made: checked, with every default filled in, and planned.

    Attributes:
        loc: where its spec stands in what was sent.

    """

    loc: Location
    spec: JobSpec | ProgramSpec
    resolved: dict[str, Any]
    sha256: str
    plan: Plan | ProgramPlan


def draft_job(raw: object, limits: LimitsSettings, loc: Location = ()) -> Draft:
    """Check a spec and plan it; touches no database.

    Raises:
        SpecInvalid: it breaks a rule; places begin with `loc`.

    """
    try:
        spec = parse_job(raw)
        return Draft(loc, spec, resolve(spec), spec_sha256(spec), plan_job(spec, limits))
    except SpecInvalid as error:
        raise SpecInvalid(
            [Breach((*loc, *each.loc), each.msg) for each in error.breaches]
        ) from None


def draft_batch(raw: object, limits: LimitsSettings) -> list[Draft]:
    """Check and plan each spec of `{"items": [spec, …]}`.

    Raises:
        SpecInvalid: any of them breaks a rule; names every breach, with the item's number.

    """
    drafts: list[Draft] = []
    breaches: list[Breach] = []
    for index, item in enumerate(_items(raw)):
        try:
            drafts.append(draft_job(item, limits, ("items", index)))
        except SpecInvalid as error:
            breaches += error.breaches
    if breaches:
        raise SpecInvalid(breaches)
    return drafts


def submit(
    connection: Connection, drafts: Sequence[Draft], ids: Sequence[UUID] | None = None
) -> list[Job]:
    """Make the drafts queued jobs, in their order.

    Args:
        connection: the transaction; it is not committed here.
        drafts: what the jobs will be.
        ids: the jobs' ids, one a draft; new ones where left out.

    Raises:
        SpecInvalid: a `parent` does not exist, or no worker offers the code that a draft names.

    """
    _check_parents(connection, drafts, hold=True)
    _check_code(connection, drafts)
    ids = ids or [new_id() for _ in drafts]
    columns = [
        {"place": place, **_columns(job_id, draft)}
        for place, (job_id, draft) in enumerate(zip(ids, drafts, strict=True))
    ]
    connection.execute(_BOOK, {"drafts": write_json(columns), "most": MOST_SAME})
    return find_jobs(connection, ids)


def show_plan(connection: Connection, draft: Draft) -> dict[str, Any]:
    """The plan as the API shows it: with the ids of jobs that have the same `spec_sha256`.

    Raises:
        SpecInvalid: the `parent` does not exist, or no worker offers the code that it names.

    """
    _check_parents(connection, [draft], hold=False)
    _check_code(connection, [draft])
    same_as = [str(job_id) for job_id in connection.scalars(_SAME, {"sha256": draft.sha256})]
    return {**draft.plan.model_dump(mode="json"), "same_as": same_as}


# Written out, for every submit runs it: all that a new job begins with in one way to the database.
# `same_as` names jobs from before this statement, and so none of the same batch.
_BOOK = text("""
    WITH drafted AS (
        SELECT * FROM jsonb_to_recordset(CAST(:drafts AS jsonb)) AS draft (
            place integer, id uuid, name text, project text, queue text, notes text, tags jsonb,
            parent uuid, priority smallint, max_attempts smallint, device text, spec jsonb,
            spec_sha256 text, plan jsonb, reproducible boolean, packages text[]
        )
    ),
    made AS (
        INSERT INTO jobs (
            id, name, project, queue, notes, tags, parent, priority, max_attempts, device, spec,
            spec_sha256, plan, reproducible, packages
        )
        SELECT
            id, name, project, queue, notes, tags, parent, priority, max_attempts, device, spec,
            spec_sha256,
            plan || jsonb_build_object('same_as', ARRAY(
                SELECT same.id FROM jobs AS same WHERE same.spec_sha256 = drafted.spec_sha256
                ORDER BY same.key DESC LIMIT :most
            )),
            reproducible, packages
        FROM drafted ORDER BY place
        RETURNING key
    ),
    started AS (INSERT INTO progress (job_key, last_event) SELECT key, 1 FROM made),
    summed AS (INSERT INTO summaries (job_key) SELECT key FROM made)
    INSERT INTO events (job_key, id, type, data)
    SELECT key, 1, 'state', '{"from": null, "to": "queued"}' FROM made
""").bindparams(bindparam("drafts", type_=Text), bindparam("most", type_=BigInteger))
_SAME = (
    select(jobs.c.id)
    .where(jobs.c.spec_sha256 == bindparam("sha256", type_=Text))
    .order_by(jobs.c.key.desc())
    .limit(MOST_SAME)
)


def _items(raw: object) -> list[object]:
    if not isinstance(raw, dict):
        raise SpecInvalid([Breach((), 'a batch is {"items": [spec, …]}')])
    breaches = [Breach((name,), "unknown field") for name in raw if name != "items"]
    items: list[object] | None = raw.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_IN_A_BATCH:
        breaches.append(Breach(("items",), f"a list of 1 to {MOST_IN_A_BATCH} specs"))
    if breaches or items is None:
        raise SpecInvalid(breaches)
    return items


def _check_parents(connection: Connection, drafts: Sequence[Draft], *, hold: bool) -> None:
    """Refuse parents that are not there; those held can't be deleted before their children are."""
    wanted = {UUID(draft.spec.parent) for draft in drafts if draft.spec.parent is not None}
    if not wanted:
        return
    found = select(jobs.c.id).where(jobs.c.id.in_(wanted)).order_by(jobs.c.key)
    if hold:
        found = found.with_for_update(read=True, key_share=True)
    known = set(connection.scalars(found))
    breaches = [
        Breach((*draft.loc, "parent"), "there is no such job")
        for draft in drafts
        if draft.spec.parent is not None and UUID(draft.spec.parent) not in known
    ]
    if breaches:
        raise SpecInvalid(breaches)


def _check_code(connection: Connection, drafts: Sequence[Draft]) -> None:
    """Refuse code that no worker offers now: a name that is misspelt would only fail later."""
    breaches: list[Breach] = []
    looked_up: dict[frozenset[tuple[str, str]], list[Breach]] = {}
    for draft in drafts:
        named = entrypoints_in(draft.resolved)
        key = frozenset(named.items())
        if key not in looked_up:
            looked_up[key] = not_offered(connection, named)
        breaches += [Breach((*draft.loc, *each.loc), each.msg) for each in looked_up[key]]
        if len(breaches) >= MOST_UNKNOWN:
            break
    if breaches:
        raise SpecInvalid(breaches)


def _columns(job_id: UUID, draft: Draft) -> dict[str, Any]:
    spec, packages = draft.spec, packages_in(draft.resolved)
    return {
        "id": str(job_id),
        "name": spec.name,
        "project": spec.project,
        "queue": spec.queue,
        "notes": spec.notes,
        "tags": dict(spec.tags),
        "parent": spec.parent,
        "priority": spec.priority,
        "max_attempts": spec.max_attempts,
        "device": spec.device,
        "spec": draft.resolved,
        "spec_sha256": draft.sha256,
        "plan": draft.plan.model_dump(mode="json"),
        # The code that it names is not in the spec, and may be another the next time.
        "reproducible": isinstance(spec, JobSpec) and spec.deterministic and not packages,
        "packages": packages,
    }
