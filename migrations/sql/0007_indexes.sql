CREATE INDEX ix_spec_outlines_network ON spec_outlines (network, job_key);

CREATE INDEX ix_plan_outlines_network ON plan_outlines (network, job_key);
