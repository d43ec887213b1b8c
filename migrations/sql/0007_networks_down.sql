CREATE OR REPLACE FUNCTION outline_new_jobs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spec_outlines (job_key, spec) SELECT key, outline_of_spec(spec) FROM made;
    INSERT INTO plan_outlines (job_key, plan) SELECT key, outline_of_plan(plan) FROM made;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION outline_changed_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE spec_outlines SET spec = outline_of_spec(NEW.spec) WHERE job_key = NEW.key;
    UPDATE plan_outlines SET plan = outline_of_plan(NEW.plan) WHERE job_key = NEW.key;
    RETURN NULL;
END
$$;

ALTER TABLE spec_outlines DROP COLUMN network;

ALTER TABLE plan_outlines DROP COLUMN network;

DROP FUNCTION network_of(JSONB);
