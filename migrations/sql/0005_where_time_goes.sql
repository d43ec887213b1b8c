-- Where an epoch's time went; null in epochs of earlier releases.
ALTER TABLE epochs
    ADD COLUMN data_seconds DOUBLE PRECISION,
    ADD COLUMN forward_seconds DOUBLE PRECISION,
    ADD COLUMN backward_seconds DOUBLE PRECISION,
    ADD COLUMN update_seconds DOUBLE PRECISION,
    ADD COLUMN waiting_seconds DOUBLE PRECISION,
    ADD COLUMN evaluation_seconds DOUBLE PRECISION,
    ADD COLUMN checkpoint_seconds DOUBLE PRECISION;

CREATE OR REPLACE VIEW v_epochs AS
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
    epochs.samples_per_second,
    epochs.data_seconds,
    epochs.forward_seconds,
    epochs.backward_seconds,
    epochs.update_seconds,
    epochs.waiting_seconds,
    epochs.evaluation_seconds,
    epochs.checkpoint_seconds
FROM epochs
JOIN jobs ON jobs.key = epochs.job_key;
