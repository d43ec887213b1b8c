-- What a bad end was, attempt by attempt, and how long an attempt waited for the database.
ALTER TABLE attempts
    ADD COLUMN error JSONB,
    ADD COLUMN waited_seconds DOUBLE PRECISION DEFAULT 0 NOT NULL,
    ADD COLUMN flushes BIGINT;

-- Flushes are counted: that tells the fate of one whose answer was lost.
ALTER TABLE progress ADD COLUMN flushes BIGINT DEFAULT 0 NOT NULL;

-- Jobs whose files may still have to be made; most jobs succeed.
CREATE INDEX ix_jobs_ended_badly ON jobs (finished_at) WHERE state IN ('failed', 'cancelled');

-- What a POST with an Idempotency-Key has made. The jobs are named, not referred to: the key
-- outlives them, and says then that they were deleted.
CREATE TABLE idempotency_keys (
    key TEXT NOT NULL,
    request_sha256 TEXT NOT NULL,
    job_ids UUID[] NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (key)
);

CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
