-- A view can't lose columns: it is made anew, and its readers are let in again.
DROP VIEW v_epochs;

CREATE VIEW v_epochs AS
SELECT
    jobs.id AS job,
    epochs.epoch,
    epochs.batches,
    epochs.samples,
    epochs.first_iteration,
    epochs.last_iteration,
    epochs.train_loss,
    epochs.train_accuracy,
    epochs.val_loss,
    epochs.val_accuracy,
    epochs.test_loss,
    epochs.test_accuracy,
    epochs.test_batches,
    epochs.skipped_updates,
    epochs.weight_norm,
    epochs.weight_change,
    epochs.seconds,
    epochs.samples_per_second
FROM epochs
JOIN jobs ON jobs.key = epochs.job_key;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'gradbook_reader') THEN
        GRANT SELECT ON v_epochs TO gradbook_reader;
    END IF;
END
$$;

ALTER TABLE epochs
    DROP COLUMN data_seconds,
    DROP COLUMN forward_seconds,
    DROP COLUMN backward_seconds,
    DROP COLUMN update_seconds,
    DROP COLUMN waiting_seconds,
    DROP COLUMN evaluation_seconds,
    DROP COLUMN checkpoint_seconds;
