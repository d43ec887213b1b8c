-- All that is locked below. A flush takes progress, then epochs and events, and then jobs, to look up what
-- a foreign key points at: kept out at progress it holds nothing that is wanted here, and those that had
-- begun can finish. All others begin with jobs. Who of them waits for progress meanwhile is in our way,
-- as we are in theirs: our lock time-out comes first, and it is tried again.
LOCK TABLE progress IN EXCLUSIVE MODE;

LOCK TABLE jobs, attempts, epochs, events IN ACCESS EXCLUSIVE MODE;

-- What a deleted job leaves: a row for each table that may still hold rows of it, and the last key
-- that was removed there. Whoever deletes a job books this, an API of the release before too: a
-- trigger does it. `remains` is that release's list; its workers go on sweeping what it has tables for.
CREATE TABLE leftovers (
    job_key BIGINT NOT NULL,
    table_name TEXT NOT NULL,
    reached BIGINT[],
    CONSTRAINT pk_leftovers PRIMARY KEY (job_key, table_name)
);

CREATE FUNCTION book_leftovers() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO leftovers (job_key, table_name)
    SELECT gone.key, swept.table_name
    FROM gone, unnest('{attempts,epochs,events,iterations,layer_readings,logs,metric_values,rollups,
        series_rollups}'::text[]) AS swept (table_name);
    RETURN NULL;
END
$$;

-- No job is deleted until this is committed: what was booked before is taken over whole.
CREATE TRIGGER book_leftovers AFTER DELETE ON jobs
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION book_leftovers();

INSERT INTO leftovers (job_key, table_name)
SELECT remains.job_key, swept.table_name
FROM remains, unnest('{iterations,layer_readings,logs,metric_values,rollups,series_rollups}'::text[])
    AS swept (table_name);

DELETE FROM remains;

-- They grow with a job's length, and would have gone in the one transaction that deletes it.
ALTER TABLE attempts DROP CONSTRAINT fk_attempts_job_key_jobs;

ALTER TABLE epochs DROP CONSTRAINT fk_epochs_job_key_jobs;

ALTER TABLE events DROP CONSTRAINT fk_events_job_key_jobs;
