-- The book's first tables. models/tables/ declares the same for SQLAlchemy; a test holds the
-- two equal.

-- What was asked for. States and their legal moves: models/domain/lifecycle.py.
CREATE TABLE jobs (
    key BIGINT GENERATED ALWAYS AS IDENTITY,
    id UUID NOT NULL,
    name TEXT NOT NULL,
    project TEXT NOT NULL,
    queue TEXT NOT NULL,
    notes TEXT NOT NULL,
    tags JSONB NOT NULL,
    parent UUID,
    created_by TEXT,
    priority SMALLINT NOT NULL,
    max_attempts SMALLINT NOT NULL,
    device TEXT NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    stop_reason TEXT,
    error JSONB,
    spec JSONB NOT NULL,
    spec_sha256 TEXT NOT NULL,
    plan JSONB NOT NULL,
    reproducible BOOLEAN NOT NULL,
    attempts_made INTEGER DEFAULT 0 NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    loss_sha256 TEXT,
    weights_sha256 TEXT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_jobs PRIMARY KEY (key),
    CONSTRAINT ck_jobs_state
        CHECK (state IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT ck_jobs_stop_reason
        CHECK (stop_reason IN ('epochs', 'target_loss', 'patience', 'max_iterations',
            'max_seconds', 'stopped', 'cancelled', 'diverged', 'error', 'attempts')),
    CONSTRAINT ck_jobs_finished_at
        CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT ck_jobs_reason_at_end
        CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (stop_reason IS NOT NULL)),
    CONSTRAINT uq_jobs_id UNIQUE (id)
);

CREATE INDEX ix_jobs_parent ON jobs (parent) WHERE parent IS NOT NULL;

CREATE INDEX ix_jobs_project_key ON jobs (project, key);

CREATE INDEX ix_jobs_spec_sha256 ON jobs (spec_sha256);

CREATE INDEX ix_jobs_state_key ON jobs (state, key);

CREATE INDEX ix_jobs_waiting ON jobs (queue, priority DESC, key) WHERE state = 'queued';

-- Where a job stands: one narrow row a job that every flush updates (HOT).
CREATE TABLE progress (
    job_key BIGINT NOT NULL,
    attempt INTEGER,
    lease_until TIMESTAMP WITH TIME ZONE,
    wanted TEXT,
    wanted_at TIMESTAMP WITH TIME ZONE,
    phase TEXT DEFAULT 'queued' NOT NULL,
    epoch INTEGER DEFAULT 0 NOT NULL,
    batch INTEGER DEFAULT 0 NOT NULL,
    iteration BIGINT DEFAULT 0 NOT NULL,
    rows BIGINT DEFAULT 0 NOT NULL,
    iterations_per_second DOUBLE PRECISION,
    latest_loss DOUBLE PRECISION,
    latest_lr DOUBLE PRECISION,
    latest_at TIMESTAMP WITH TIME ZONE,
    running_seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    last_event BIGINT DEFAULT 0 NOT NULL,
    last_line BIGINT DEFAULT 0 NOT NULL,
    rewinds INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_progress PRIMARY KEY (job_key),
    CONSTRAINT ck_progress_wanted CHECK (wanted IN ('pause', 'cancel', 'stop')),
    CONSTRAINT ck_progress_phase
        CHECK (phase IN ('queued', 'start', 'load', 'train', 'evaluate', 'save', 'done')),
    CONSTRAINT ck_progress_lease_has_owner CHECK ((attempt IS NULL) = (lease_until IS NULL)),
    CONSTRAINT ck_progress_wish_has_time CHECK ((wanted IS NULL) = (wanted_at IS NULL)),
    CONSTRAINT fk_progress_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
)
WITH (fillfactor = 50);

-- The numbers that came of it.
CREATE TABLE summaries (
    job_key BIGINT NOT NULL,
    final_loss DOUBLE PRECISION,
    best_loss DOUBLE PRECISION,
    train_loss DOUBLE PRECISION,
    train_accuracy DOUBLE PRECISION,
    val_loss DOUBLE PRECISION,
    val_accuracy DOUBLE PRECISION,
    test_loss DOUBLE PRECISION,
    test_accuracy DOUBLE PRECISION,
    best_metric TEXT,
    best_value DOUBLE PRECISION,
    best_epoch INTEGER,
    best_iteration BIGINT,
    CONSTRAINT pk_summaries PRIMARY KEY (job_key),
    CONSTRAINT fk_summaries_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

-- One try of a worker at a job; at most one of a job is open.
CREATE TABLE attempts (
    job_key BIGINT NOT NULL,
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    host TEXT NOT NULL,
    slot INTEGER NOT NULL,
    pid INTEGER,
    backend_pid INTEGER,
    backend_start TIMESTAMP WITH TIME ZONE,
    device TEXT NOT NULL,
    device_name TEXT,
    precision TEXT,
    threads INTEGER,
    torch TEXT,
    environment JSONB,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    exit_code INTEGER,
    signal INTEGER,
    first_iteration BIGINT,
    last_iteration BIGINT,
    CONSTRAINT pk_attempts PRIMARY KEY (job_key, number),
    CONSTRAINT ck_attempts_outcome
        CHECK (outcome IN ('succeeded', 'cancelled', 'paused', 'preempted',
            'lost', 'killed', 'out_of_memory', 'stalled', 'error', 'diverged')),
    CONSTRAINT fk_attempts_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

CREATE INDEX ix_attempts_worker ON attempts (worker) WHERE ended_at IS NULL;

CREATE UNIQUE INDEX uq_attempts_open ON attempts (job_key) WHERE ended_at IS NULL;

-- One row a weight update. Written by binary COPY under the fence.
CREATE TABLE iterations (
    job_key BIGINT NOT NULL,
    iteration BIGINT NOT NULL,
    epoch INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    loss DOUBLE PRECISION NOT NULL,
    lr DOUBLE PRECISION NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    grad_norm DOUBLE PRECISION,
    CONSTRAINT pk_iterations PRIMARY KEY (job_key, iteration)
);

-- One row a pass over the training samples.
CREATE TABLE epochs (
    job_key BIGINT NOT NULL,
    epoch INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    samples BIGINT NOT NULL,
    first_iteration BIGINT NOT NULL,
    last_iteration BIGINT NOT NULL,
    train_loss DOUBLE PRECISION,
    train_accuracy DOUBLE PRECISION,
    val_loss DOUBLE PRECISION,
    val_accuracy DOUBLE PRECISION,
    test_loss DOUBLE PRECISION,
    test_accuracy DOUBLE PRECISION,
    test_batches INTEGER,
    skipped_updates INTEGER NOT NULL,
    weight_norm DOUBLE PRECISION,
    weight_change DOUBLE PRECISION,
    seconds DOUBLE PRECISION NOT NULL,
    samples_per_second DOUBLE PRECISION,
    CONSTRAINT pk_epochs PRIMARY KEY (job_key, epoch),
    CONSTRAINT fk_epochs_job_key_jobs FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

-- What each layer got of the error, and what it did with it.
CREATE TABLE layer_readings (
    job_key BIGINT NOT NULL,
    iteration BIGINT NOT NULL,
    position SMALLINT NOT NULL,
    error_norm DOUBLE PRECISION,
    grad_norm DOUBLE PRECISION,
    weight_norm DOUBLE PRECISION,
    update_ratio DOUBLE PRECISION,
    CONSTRAINT pk_layer_readings PRIMARY KEY (job_key, iteration, position)
);

-- What happened, numbered per job in the order of commit.
CREATE TABLE events (
    job_key BIGINT NOT NULL,
    id BIGINT NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    type TEXT NOT NULL,
    attempt INTEGER,
    data JSONB NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (job_key, id),
    CONSTRAINT ck_events_type
        CHECK (type IN ('state', 'epoch', 'checkpoint', 'rewound', 'warning', 'edited')),
    CONSTRAINT fk_events_job_key_jobs FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

CREATE INDEX ix_events_xid ON events (xid, job_key, id);

-- What trainers printed.
CREATE TABLE logs (
    job_key BIGINT NOT NULL,
    line BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    attempt INTEGER NOT NULL,
    stream TEXT NOT NULL,
    text TEXT NOT NULL,
    CONSTRAINT pk_logs PRIMARY KEY (job_key, line),
    CONSTRAINT ck_logs_stream CHECK (stream IN ('stdout', 'stderr'))
);

-- Files of a job that clients can fetch.
CREATE TABLE artifacts (
    job_key BIGINT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    uri TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_artifacts PRIMARY KEY (job_key, name),
    CONSTRAINT fk_artifacts_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

-- Files of a job that an attempt can go on from.
CREATE TABLE checkpoints (
    job_key BIGINT NOT NULL,
    iteration BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    uri TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_checkpoints PRIMARY KEY (job_key, iteration, attempt),
    CONSTRAINT fk_checkpoints_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

-- The fleet.
CREATE TABLE workers (
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    slots INTEGER NOT NULL,
    devices JSONB NOT NULL,
    queues TEXT[] NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    last_seen TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_workers PRIMARY KEY (name)
);
