-- As release 0001 had it: where a downgrade puts it back.
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

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        GRANT SELECT ON v_attempts TO gradbook_reader;
    END IF;
END
$$;
