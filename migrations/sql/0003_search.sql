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

-- Spec and plan without what is long or usual; models/tables/outlines.py says why, and has as LEFT_OUT
-- and USUAL what the functions leave out: a test holds the two equal.
CREATE TABLE spec_outlines (
    job_key BIGINT NOT NULL,
    spec JSONB NOT NULL,
    CONSTRAINT pk_spec_outlines PRIMARY KEY (job_key),
    CONSTRAINT fk_spec_outlines_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

CREATE TABLE plan_outlines (
    job_key BIGINT NOT NULL,
    plan JSONB NOT NULL,
    CONSTRAINT pk_plan_outlines PRIMARY KEY (job_key),
    CONSTRAINT fk_plan_outlines_job_key_jobs
        FOREIGN KEY (job_key) REFERENCES jobs (key) ON DELETE CASCADE
);

CREATE FUNCTION usual_spec() RETURNS JSONB
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{
    "spec_version": 1, "name": "", "project": "default", "parent": null, "priority": 0,
    "queue": "default", "max_attempts": 3, "init": {"name": "default"},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.0, "weight": null},
    "drop_last": false, "micro_batch_size": null,
    "schedule": {"name": "constant", "warmup_iterations": 0}, "grad_clip": null,
    "stop": {"target_loss": null, "target_on": "train_loss", "patience_epochs": null,
        "min_delta": 0.0, "max_iterations": null, "max_seconds": null, "on_non_finite": "fail"},
    "monitor": {"metric": "auto", "mode": "auto"},
    "evaluate": {"every_epochs": 1, "batch_size": null},
    "checkpoint": {"every_seconds": 60.0, "keep": 2, "keep_best": "auto"},
    "record": {"grad_norm_every": 10, "layers_every": 50}, "device": "auto", "devices": 1,
    "precision": "auto", "compile": false, "seed": 0, "deterministic": true, "threads": 1
}'::jsonb;

-- A part that a spec does not have is written as null, so that it is not taken for the usual one.
CREATE FUNCTION outline_of_spec(spec JSONB) RETURNS JSONB
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT coalesce(jsonb_object_agg(key, coalesce(own.value, 'null')), '{}')
    FROM jsonb_each(spec - '{notes,tags,augment}'::text[]) AS own
    FULL JOIN jsonb_each(usual_spec()) AS usual USING (key)
    WHERE own.value IS DISTINCT FROM usual.value
) #- '{network,layers}' #- '{loss,weight}' #- '{init,except}';

CREATE FUNCTION outline_of_plan(plan JSONB) RETURNS JSONB
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN plan - '{formula,same_as,warnings}'::text[] #- '{network,layers}';

CREATE FUNCTION outline_new_jobs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spec_outlines (job_key, spec) SELECT key, outline_of_spec(spec) FROM made;
    INSERT INTO plan_outlines (job_key, plan) SELECT key, outline_of_plan(plan) FROM made;
    RETURN NULL;
END
$$;

CREATE FUNCTION outline_changed_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE spec_outlines SET spec = outline_of_spec(NEW.spec) WHERE job_key = NEW.key;
    UPDATE plan_outlines SET plan = outline_of_plan(NEW.plan) WHERE job_key = NEW.key;
    RETURN NULL;
END
$$;

CREATE TRIGGER outline_new_jobs AFTER INSERT ON jobs
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION outline_new_jobs();

CREATE TRIGGER outline_changed_job AFTER UPDATE OF spec, plan ON jobs
FOR EACH ROW EXECUTE FUNCTION outline_changed_job();

INSERT INTO spec_outlines (job_key, spec) SELECT key, outline_of_spec(spec) FROM jobs;

INSERT INTO plan_outlines (job_key, plan) SELECT key, outline_of_plan(plan) FROM jobs;
