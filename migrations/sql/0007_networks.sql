-- What networks' layers say is looked up once a network, not once a job: outlines leave layers out, and
-- name the network by a hash instead; models/tables/outlines.py says how it is read.

-- This is committed before the hashes of jobs that are there are written, and may be run again.
-- Nobody submits a job until then: one that had begun would be outlined by the functions of before.
LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE;

-- Half of a SHA-256, which is enough that nobody finds two networks with the same.
CREATE OR REPLACE FUNCTION network_of(document JSONB) RETURNS UUID
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(substr(sha256(convert_to((document -> 'network')::text, 'UTF8')), 1, 16), 'hex')::uuid;

ALTER TABLE spec_outlines ADD COLUMN IF NOT EXISTS network UUID;

ALTER TABLE plan_outlines ADD COLUMN IF NOT EXISTS network UUID;

CREATE OR REPLACE FUNCTION outline_new_jobs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spec_outlines (job_key, spec, network)
    SELECT key, outline_of_spec(spec), network_of(spec) FROM made;
    INSERT INTO plan_outlines (job_key, plan, network)
    SELECT key, outline_of_plan(plan), network_of(plan) FROM made;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION outline_changed_job() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE spec_outlines SET spec = outline_of_spec(NEW.spec), network = network_of(NEW.spec)
    WHERE job_key = NEW.key;
    UPDATE plan_outlines SET plan = outline_of_plan(NEW.plan), network = network_of(NEW.plan)
    WHERE job_key = NEW.key;
    RETURN NULL;
END
$$;
