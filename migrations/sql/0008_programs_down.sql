ALTER TABLE jobs DROP CONSTRAINT ck_jobs_stop_reason;

-- What an older release can say of a program that has returned.
UPDATE jobs SET stop_reason = 'stopped' WHERE stop_reason = 'returned';

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_stop_reason
    CHECK (stop_reason IN ('epochs', 'target_loss', 'patience', 'max_iterations', 'max_seconds',
        'stopped', 'cancelled', 'diverged', 'error', 'attempts'));
