-- The next batch of jobs after a key; returns the last of it, null after the last of all. What is not
-- null was written with its job, or by a migration that was cut off.
WITH batch AS MATERIALIZED (
    SELECT job_key FROM plan_outlines
    WHERE job_key > :after AND job_key <= :last
    ORDER BY job_key LIMIT :most
),
filled AS (
    UPDATE plan_outlines SET network = network_of(jobs.plan)
    FROM batch JOIN jobs ON jobs.key = batch.job_key
    WHERE plan_outlines.job_key = batch.job_key AND plan_outlines.network IS NULL
)
SELECT max(job_key) FROM batch
