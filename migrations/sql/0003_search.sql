-- Searching jobs: indexes for what lists are mostly filtered and ordered by, and for all other
-- fields a narrow copy of spec and plan that can be read through quickly.

CREATE INDEX ix_jobs_name ON jobs (name COLLATE "C", key);

CREATE INDEX ix_jobs_created_at ON jobs (created_at, key);

CREATE INDEX ix_jobs_started_at ON jobs (started_at, key);

CREATE INDEX ix_jobs_finished_at ON jobs (finished_at, key);

CREATE INDEX ix_jobs_tags ON jobs USING gin (tags jsonb_path_ops);

CREATE INDEX ix_summaries_final_loss ON summaries (final_loss, job_key);

CREATE INDEX ix_summaries_best_loss ON summaries (best_loss, job_key);

CREATE INDEX ix_summaries_train_loss ON summaries (train_loss, job_key);

CREATE INDEX ix_summaries_train_accuracy ON summaries (train_accuracy, job_key);

CREATE INDEX ix_summaries_val_loss ON summaries (val_loss, job_key);

CREATE INDEX ix_summaries_val_accuracy ON summaries (val_accuracy, job_key);

CREATE INDEX ix_summaries_test_loss ON summaries (test_loss, job_key);

CREATE INDEX ix_summaries_test_accuracy ON summaries (test_accuracy, job_key);

CREATE INDEX ix_summaries_best_value ON summaries (best_value, job_key);

-- The rows are read through, so they stay whole: without this, those above 2 kB are compressed.
CREATE TABLE outlines (
    job_key BIGINT NOT NULL,
    spec JSONB NOT NULL,
    plan JSONB NOT NULL,
    CONSTRAINT pk_outlines PRIMARY KEY (job_key),
    CONSTRAINT fk_outlines_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
)
WITH (toast_tuple_target = 8160);

-- What is left out is in models/tables/outlines.py, as LEFT_OUT; a test holds them equal. What is
-- not an object has no parts, and #- would refuse it.
CREATE FUNCTION outline_of_spec(spec JSONB) RETURNS JSONB
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(spec) = 'object' THEN
    spec - '{notes,tags,augment}'::text[]
    #- '{network,layers}' #- '{loss,weight}' #- '{init,except}'
ELSE '{}' END;

CREATE FUNCTION outline_of_plan(plan JSONB) RETURNS JSONB
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(plan) = 'object' THEN
    plan - '{formula,same_as,warnings}'::text[] #- '{network,layers}'
ELSE '{}' END;

CREATE FUNCTION outline_new_jobs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outlines (job_key, spec, plan)
    SELECT key, outline_of_spec(spec), outline_of_plan(plan) FROM made;
    RETURN NULL;
END
$$;

CREATE FUNCTION outline_changed_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE outlines SET spec = outline_of_spec(NEW.spec), plan = outline_of_plan(NEW.plan)
    WHERE job_key = NEW.key;
    RETURN NULL;
END
$$;

CREATE TRIGGER outline_new_jobs AFTER INSERT ON jobs
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION outline_new_jobs();

CREATE TRIGGER outline_changed_job AFTER UPDATE OF spec, plan ON jobs
FOR EACH ROW EXECUTE FUNCTION outline_changed_job();

INSERT INTO outlines (job_key, spec, plan)
SELECT key, outline_of_spec(spec), outline_of_plan(plan) FROM jobs;
