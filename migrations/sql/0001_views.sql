-- The stable views: what docs/sql.md promises to notebooks and dashboards, whatever the
-- tables below them become.

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

CREATE VIEW v_iterations AS
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

CREATE VIEW v_epochs AS
SELECT
    jobs.id AS job,
    epochs.epoch,
    epochs.batches,
    epochs.samples,
    epochs.first_iteration,
    epochs.last_iteration,
    epochs.train_loss,
    epochs.train_accuracy,
    epochs.val_loss,
    epochs.val_accuracy,
    epochs.test_loss,
    epochs.test_accuracy,
    epochs.test_batches,
    epochs.skipped_updates,
    epochs.weight_norm,
    epochs.weight_change,
    epochs.seconds,
    epochs.samples_per_second
FROM epochs
JOIN jobs ON jobs.key = epochs.job_key;

CREATE VIEW v_attempts AS
SELECT
    jobs.id AS job,
    attempts.number,
    attempts.worker,
    attempts.host,
    attempts.slot,
    attempts.pid,
    attempts.device,
    attempts.device_name,
    attempts.precision,
    attempts.threads,
    attempts.torch,
    attempts.environment,
    attempts.started_at,
    attempts.ended_at,
    attempts.outcome,
    attempts.exit_code,
    attempts.signal,
    attempts.first_iteration,
    CASE
        WHEN attempts.ended_at IS NOT NULL THEN attempts.last_iteration
        -- An open one has reached what its job has; null before its first row.
        WHEN progress.iteration >= attempts.first_iteration THEN progress.iteration
    END AS last_iteration
FROM attempts
JOIN jobs ON jobs.key = attempts.job_key
JOIN progress ON progress.job_key = attempts.job_key;

-- One who may read the views and nothing else. A role belongs to the whole server, so it may
-- be there already; where the migration's account may not make roles, an administrator does.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        CREATE ROLE gradbook_reader NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'the role gradbook_reader is missing and cannot be made: see docs/sql.md';
    WHEN duplicate_object OR unique_violation THEN
        NULL;
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO gradbook_reader', current_schema());
        GRANT SELECT ON v_jobs, v_iterations, v_epochs, v_attempts TO gradbook_reader;
    END IF;
END
$$;
