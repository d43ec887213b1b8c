"""A job: what was asked for (`jobs`), where it stands (`progress`), what came of it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.domain.lifecycle import Phase, State, StopReason, Wish
from models.tables.metadata import Float64, Moment, job_key, metadata, one_of

FINISHED_STATES = "state IN ('succeeded', 'failed', 'cancelled')"

jobs = Table(
    "jobs",
    metadata,
    Column("key", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("tags", JSONB, nullable=False),
    Column("parent", Uuid),
    Column("created_by", Text),
    Column("priority", SmallInteger, nullable=False),
    Column("max_attempts", SmallInteger, nullable=False),
    Column("device", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("stop_reason", Text),
    Column("error", JSONB),
    Column("spec", JSONB, nullable=False),
    Column("spec_sha256", Text, nullable=False),
    Column("plan", JSONB, nullable=False),
    Column("reproducible", Boolean, nullable=False),
    # Whose code it names: only a worker that offers all of them may take it.
    Column("packages", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # How many attempts were ever made, and how many of them count against max_attempts.
    Column("attempts_made", Integer, nullable=False, server_default=text("0")),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Moment),
    Column("loss_sha256", Text),
    Column("weights_sha256", Text),
    Column("created_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    # Since then the rows of its iterations are read from a file (services/archiving.py).
    Column("archived_at", Moment),
    one_of("state", State),
    one_of("stop_reason", StopReason),
    CheckConstraint(f"({FINISHED_STATES}) = (finished_at IS NOT NULL)", name="finished_at"),
    CheckConstraint(f"({FINISHED_STATES}) = (stop_reason IS NOT NULL)", name="reason_at_end"),
    CheckConstraint(
        "archived_at IS NULL OR finished_at IS NOT NULL", name="archived_when_finished"
    ),
)

# The claim reads this one alone: best first, and only what waits.
Index(
    "ix_jobs_waiting",
    jobs.c.queue,
    jobs.c.priority.desc(),
    jobs.c.key,
    postgresql_where=text("state = 'queued'"),
)
# Whose files may still have to be made; most jobs succeed.
Index(
    "ix_jobs_ended_badly",
    jobs.c.finished_at,
    postgresql_where=text("state IN ('failed', 'cancelled')"),
)
Index("ix_jobs_project_key", jobs.c.project, jobs.c.key)
Index("ix_jobs_state_key", jobs.c.state, jobs.c.key)
Index("ix_jobs_spec_sha256", jobs.c.spec_sha256)
# A deletion looks for children; most jobs have no parent.
Index("ix_jobs_parent", jobs.c.parent, postgresql_where=text("parent IS NOT NULL"))

# What lists are filtered and ordered by; `state` and `project` have theirs above.
# By code point (COLLATE "C"), which nobody can read back and compare: 0003_search.sql.
Index("ix_jobs_name", jobs.c.name, jobs.c.key)
Index("ix_jobs_created_at", jobs.c.created_at, jobs.c.key)
Index("ix_jobs_started_at", jobs.c.started_at, jobs.c.key)
Index("ix_jobs_finished_at", jobs.c.finished_at, jobs.c.key)
Index(
    "ix_jobs_tags",
    jobs.c.tags,
    postgresql_using="gin",
    postgresql_ops={"tags": "jsonb_path_ops"},
)

progress = Table(
    "progress",
    metadata,
    job_key(),
    # The fence: the attempt that owns the job; null where none does.
    Column("attempt", Integer),
    Column("lease_until", Moment),
    Column("wanted", Text),
    Column("wanted_at", Moment),
    Column("phase", Text, nullable=False, server_default=text("'queued'")),
    Column("epoch", Integer, nullable=False, server_default=text("0")),
    Column("batch", Integer, nullable=False, server_default=text("0")),
    Column("iteration", BigInteger, nullable=False, server_default=text("0")),
    Column("rows", BigInteger, nullable=False, server_default=text("0")),
    Column("iterations_per_second", Float64),
    Column("latest_loss", Float64),
    Column("latest_lr", Float64),
    Column("latest_at", Moment),
    Column("running_seconds", Float64, nullable=False, server_default=text("0")),
    Column("last_event", BigInteger, nullable=False, server_default=text("0")),
    Column("last_line", BigInteger, nullable=False, server_default=text("0")),
    Column("rewinds", Integer, nullable=False, server_default=text("0")),
    # All that were ever committed: tells the fate of one whose answer was lost.
    Column("flushes", BigInteger, nullable=False, server_default=text("0")),
    one_of("wanted", Wish),
    one_of("phase", Phase),
    CheckConstraint("(attempt IS NULL) = (lease_until IS NULL)", name="lease_has_owner"),
    CheckConstraint("(wanted IS NULL) = (wanted_at IS NULL)", name="wish_has_time"),
    # Every flush updates this row and no index holds what it changes: with room on the page
    # the update stays heap-only (HOT).
    postgresql_with={"fillfactor": "50"},
)

summaries = Table(
    "summaries",
    metadata,
    job_key(),
    Column("final_loss", Float64),
    Column("best_loss", Float64),
    Column("train_loss", Float64),
    Column("train_accuracy", Float64),
    Column("val_loss", Float64),
    Column("val_accuracy", Float64),
    Column("test_loss", Float64),
    Column("test_accuracy", Float64),
    Column("best_metric", Text),
    Column("best_value", Float64),
    Column("best_epoch", Integer),
    Column("best_iteration", BigInteger),
)

# An epoch's end writes them, not every flush: `progress`, which every flush writes, has none.
for _name in (
    "final_loss",
    "best_loss",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "best_value",
):
    Index(f"ix_summaries_{_name}", summaries.c[_name], summaries.c.job_key)
