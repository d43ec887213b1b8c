"""What training measures: a row an iteration, a row an epoch, a row a layer now and then."""

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Table

from models.tables.metadata import Float64, bare_job_key, metadata

iterations = Table(
    "iterations",
    metadata,
    bare_job_key(),
    Column("iteration", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("loss", Float64, nullable=False),
    Column("lr", Float64, nullable=False),
    Column("seconds", Float64, nullable=False),
    Column("grad_norm", Float64),
)

epochs = Table(
    "epochs",
    metadata,
    bare_job_key(),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("batches", Integer, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("first_iteration", BigInteger, nullable=False),
    Column("last_iteration", BigInteger, nullable=False),
    Column("train_loss", Float64),
    Column("train_accuracy", Float64),
    Column("val_loss", Float64),
    Column("val_accuracy", Float64),
    Column("test_loss", Float64),
    Column("test_accuracy", Float64),
    Column("test_batches", Integer),
    Column("skipped_updates", Integer, nullable=False),
    Column("weight_norm", Float64),
    Column("weight_change", Float64),
    Column("seconds", Float64, nullable=False),
    Column("samples_per_second", Float64),
    Column("data_seconds", Float64),
    Column("forward_seconds", Float64),
    Column("backward_seconds", Float64),
    Column("update_seconds", Float64),
    Column("waiting_seconds", Float64),
    Column("evaluation_seconds", Float64),
    Column("checkpoint_seconds", Float64),
)

layer_readings = Table(
    "layer_readings",
    metadata,
    bare_job_key(),
    Column("iteration", BigInteger, primary_key=True, autoincrement=False),
    # The layer's place in the plan's `network.layers`, from 0; its name and kind stand there.
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("error_norm", Float64),
    Column("grad_norm", Float64),
    Column("weight_norm", Float64),
    Column("update_ratio", Float64),
)
