-- Rows that lie in files would be out of sight: an earlier release knows of no such files.
DO $$
BEGIN
    IF EXISTS (SELECT FROM jobs WHERE archived_at IS NOT NULL) THEN
        RAISE EXCEPTION 'some jobs are archived: an earlier release could not read their rows'
            USING HINT = 'Delete those jobs, or stay with this release.';
    END IF;
END
$$;

-- A view's columns can only be added to.
DROP VIEW v_jobs;

CREATE VIEW v_jobs AS
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
    jobs.finished_at
FROM jobs
JOIN progress ON progress.job_key = jobs.key
JOIN summaries ON summaries.job_key = jobs.key;

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
JOIN jobs ON jobs.key = iterations.job_key;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        GRANT SELECT ON v_jobs TO gradbook_reader;
    END IF;
END
$$;

DROP TABLE archives;

ALTER TABLE jobs DROP COLUMN archived_at;
