-- Metrics of a trainer's own: a row a name, and a row a value. What a flush changes stands in the
-- first, in no index, so that its updates stay heap-only.
CREATE TABLE metrics (
    job_key BIGINT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    count BIGINT NOT NULL,
    non_finite BIGINT NOT NULL,
    last DOUBLE PRECISION NOT NULL,
    min DOUBLE PRECISION,
    max DOUBLE PRECISION,
    last_iteration BIGINT NOT NULL,
    CONSTRAINT pk_metrics PRIMARY KEY (job_key, number),
    CONSTRAINT uq_metrics_job_key_name UNIQUE (job_key, name),
    CONSTRAINT fk_metrics_job_key_jobs FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE,
    CONSTRAINT ck_metrics_kind CHECK (kind IN ('iteration', 'epoch'))
) WITH (fillfactor = 50);

CREATE TABLE metric_values (
    job_key BIGINT NOT NULL,
    metric INTEGER NOT NULL,
    iteration BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_metric_values PRIMARY KEY (job_key, metric, iteration)
);

CREATE VIEW v_metrics AS
SELECT
    jobs.id AS job,
    metrics.name,
    metrics.kind,
    metrics.count,
    metrics.non_finite,
    metrics.last,
    metrics.min,
    metrics.max,
    metrics.last_iteration
FROM metrics
JOIN jobs ON jobs.key = metrics.job_key;

CREATE VIEW v_metric_values AS
SELECT
    jobs.id AS job,
    metrics.name,
    metric_values.iteration,
    metric_values.value
FROM metric_values
JOIN metrics ON metrics.job_key = metric_values.job_key AND metrics.number = metric_values.metric
JOIN jobs ON jobs.key = metric_values.job_key;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        GRANT SELECT ON v_metrics, v_metric_values TO gradbook_reader;
    END IF;
END
$$;
