-- What is still to be removed goes at once where the release before has foreign keys, and is booked
-- where its workers will find it.
DROP TRIGGER book_leftovers ON jobs;

DROP FUNCTION book_leftovers();

DELETE FROM attempts WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.key = attempts.job_key);

DELETE FROM epochs WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.key = epochs.job_key);

DELETE FROM events WHERE NOT EXISTS (SELECT FROM jobs WHERE jobs.key = events.job_key);

ALTER TABLE attempts ADD CONSTRAINT fk_attempts_job_key_jobs
    FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE;

ALTER TABLE epochs ADD CONSTRAINT fk_epochs_job_key_jobs
    FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE;

ALTER TABLE events ADD CONSTRAINT fk_events_job_key_jobs
    FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE;

INSERT INTO remains (job_key)
SELECT DISTINCT job_key FROM leftovers
WHERE NOT EXISTS (SELECT FROM remains WHERE remains.job_key = leftovers.job_key);

DROP TABLE leftovers;
