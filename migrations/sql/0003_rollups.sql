-- Rollups: what a curve of any length is drawn from. Level L holds runs of 4 * 4^L rows: 16, 64,
-- 256, …; bucket b of a width w holds rows b * w + 1 to (b + 1) * w. A bucket is written once, when
-- it is complete, and what a curve needs beyond complete buckets it reads from the finer level.
-- min, max and sum are over the finite values; sum is 0 and the others are null where there is none.
CREATE TABLE rollups (
    job_key BIGINT NOT NULL,
    level SMALLINT NOT NULL,
    bucket BIGINT NOT NULL,
    loss_non_finite INTEGER NOT NULL,
    loss_min DOUBLE PRECISION,
    loss_max DOUBLE PRECISION,
    loss_sum DOUBLE PRECISION NOT NULL,
    lr_non_finite INTEGER NOT NULL,
    lr_min DOUBLE PRECISION,
    lr_max DOUBLE PRECISION,
    lr_sum DOUBLE PRECISION NOT NULL,
    seconds_non_finite INTEGER NOT NULL,
    seconds_min DOUBLE PRECISION,
    seconds_max DOUBLE PRECISION,
    seconds_sum DOUBLE PRECISION NOT NULL,
    grad_norm_first BIGINT,
    grad_norm_count INTEGER NOT NULL,
    grad_norm_non_finite INTEGER NOT NULL,
    grad_norm_min DOUBLE PRECISION,
    grad_norm_max DOUBLE PRECISION,
    grad_norm_sum DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_rollups PRIMARY KEY (job_key, level, bucket)
);

-- The same of a series that has a point now and then: a layer's norm, a metric. Its buckets are runs
-- of iterations, too, and their base is 16 times the distance of its points, where that is known.
CREATE TABLE series_rollups (
    job_key BIGINT NOT NULL,
    series INTEGER NOT NULL,
    level SMALLINT NOT NULL,
    bucket BIGINT NOT NULL,
    first BIGINT NOT NULL,
    count INTEGER NOT NULL,
    non_finite INTEGER NOT NULL,
    min DOUBLE PRECISION,
    max DOUBLE PRECISION,
    sum DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_series_rollups PRIMARY KEY (job_key, series, level, bucket)
);
