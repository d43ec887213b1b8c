-- A program that comes to its end has returned.

ALTER TABLE jobs DROP CONSTRAINT ck_jobs_stop_reason;

ALTER TABLE jobs ADD CONSTRAINT ck_jobs_stop_reason
    CHECK (stop_reason IN ('epochs', 'target_loss', 'patience', 'max_iterations', 'max_seconds',
        'stopped', 'returned', 'cancelled', 'diverged', 'error', 'attempts'));
