DROP TRIGGER outline_new_jobs ON jobs;

DROP TRIGGER outline_changed_job ON jobs;

DROP FUNCTION outline_new_jobs();

DROP FUNCTION outline_changed_job();

DROP FUNCTION outline_of_spec(JSONB);

DROP FUNCTION usual_spec();

DROP FUNCTION outline_of_plan(JSONB);

DROP TABLE spec_outlines, plan_outlines;

DROP INDEX
    ix_jobs_name,
    ix_jobs_created_at,
    ix_jobs_started_at,
    ix_jobs_finished_at,
    ix_jobs_tags,
    ix_summaries_final_loss,
    ix_summaries_best_loss,
    ix_summaries_train_loss,
    ix_summaries_train_accuracy,
    ix_summaries_val_loss,
    ix_summaries_val_accuracy,
    ix_summaries_test_loss,
    ix_summaries_test_accuracy,
    ix_summaries_best_value;
