-- Finished jobs whose rows of iterations lie in a file: `archived_at` says since when. From that
-- moment on the rows that are still in the table are being removed, and nothing reads them.
ALTER TABLE jobs ADD COLUMN archived_at TIMESTAMP WITH TIME ZONE;

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_archived_when_finished
    CHECK (archived_at IS NULL OR finished_at IS NOT NULL);

-- A wish to archive a job, and how far its fulfilment has come. `refused` says why it was not.
CREATE TABLE archives (
    job_key BIGINT NOT NULL,
    wanted_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    refused TEXT,
    removed_to BIGINT DEFAULT 0 NOT NULL,
    settled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_archives PRIMARY KEY (job_key),
    CONSTRAINT fk_archives_job_key_jobs FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE,
    CONSTRAINT ck_archives_refused_or_settled CHECK (refused IS NULL OR settled_at IS NULL)
);

CREATE INDEX ix_archives_unsettled ON archives (wanted_at)
    WHERE settled_at IS NULL AND refused IS NULL;

CREATE OR REPLACE VIEW v_iterations AS
SELECT
    jobs.id AS job,
    iterations.iteration,
    iterations.epoch,
    iterations.batch,
    iterations.samples,
    iterations.loss,
    iterations.lr,
    iterations.grad_norm,
    iterations.seconds
FROM iterations
JOIN jobs ON jobs.key = iterations.job_key
WHERE jobs.archived_at IS NULL;

CREATE OR REPLACE VIEW v_jobs AS
SELECT
    jobs.id AS job,
    jobs.name,
    jobs.project,
    jobs.queue,
    jobs.tags,
    jobs.notes,
    jobs.parent,
    jobs.created_by,
    jobs.priority,
    jobs.state,
    jobs.stop_reason,
    jobs.error,
    jobs.spec,
    jobs.spec_sha256,
    jobs.plan,
    jobs.reproducible,
    progress.phase,
    progress.epoch,
    progress.batch,
    progress.iteration,
    (jobs.plan ->> 'iterations_total')::bigint AS iterations_total,
    progress.iterations_per_second,
    progress.latest_loss,
    progress.latest_lr,
    progress.latest_at,
    summaries.final_loss,
    summaries.best_loss,
    summaries.train_loss,
    summaries.train_accuracy,
    summaries.val_loss,
    summaries.val_accuracy,
    summaries.test_loss,
    summaries.test_accuracy,
    progress.rows,
    jobs.loss_sha256,
    jobs.weights_sha256,
    jobs.created_at,
    jobs.started_at,
    jobs.finished_at,
    jobs.archived_at
FROM jobs
JOIN progress ON progress.job_key = jobs.key
JOIN summaries ON summaries.job_key = jobs.key;
