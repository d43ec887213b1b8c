-- Jobs that are deleted, and whose rows in bulk are still to be removed, some at a time.
CREATE TABLE remains (
    job_key BIGINT NOT NULL,
    -- Which of these tables is being swept, by its place, and the last key that is removed there.
    place INTEGER DEFAULT 0 NOT NULL,
    reached BIGINT[],
    deleted_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_remains PRIMARY KEY (job_key)
);
