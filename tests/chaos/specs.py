"""The trainings that chaos disturbs: small, real, and with much to remember in mid-epoch."""

from typing import Any

Json = dict[str, Any]

MOST_ATTEMPTS = 100

DIGITS: Json = {"name": "digits"}
CONVOLUTIONAL: Json = {
    "layers": [
        {"conv": {"channels": 8, "kernel": 3, "padding": 1}},
        {"batch_norm": {}},
        {"relu": {}},
        {"max_pool": {"size": 2}},
        {"dropout": {"p": 0.25}},
        {"flatten": {}},
        {"linear": {"features": 10}},
    ]
}
RESIDUAL: Json = {
    "layers": [
        {"conv": {"channels": 8, "kernel": 3, "padding": 1}},
        {
            "residual": {
                "layers": [
                    {"conv": {"channels": 8, "kernel": 3, "padding": 1}},
                    {"batch_norm": {}},
                    {"relu": {}},
                ]
            }
        },
        {"global_avg_pool": {}},
        {"flatten": {}},
        {"dropout": {"p": 0.1}},
        {"linear": {"features": 12}},
    ]
}
DENSE: Json = {
    "layers": [
        {"flatten": {}},
        {"linear": {"features": 64}},
        {"layer_norm": {}},
        {"gelu": {}},
        {"dropout": {"p": 0.5}},
        {"linear": {"features": 10}},
    ]
}


def momentum(epochs: int) -> Json:
    """Nesterov momentum under a cosine with warm-up, batch norms, crops and cut-outs."""
    return {
        "name": "momentum",
        "dataset": DIGITS,
        "network": CONVOLUTIONAL,
        "augment": [{"random_crop": {"padding": 1}}, {"cutout": {"size": 2}}],
        "batch_size": 16,
        "epochs": epochs,
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "cosine", "warmup_iterations": 40},
        "seed": 11,
    }


def patience(epochs: int) -> Json:
    """Adam with validation, micro-batches and a patience that ends it early."""
    return {
        "name": "patience",
        "dataset": {**DIGITS, "validation": 0.2},
        "network": DENSE,
        "augment": [{"random_horizontal_flip": {"p": 0.5}}],
        "batch_size": 32,
        "micro_batch_size": 20,
        "epochs": 4 * epochs,
        "optimizer": {"name": "adam", "lr": 0.0005},
        "stop": {"patience_epochs": max(2, epochs // 4), "min_delta": 0.02},
        "checkpoint": {"keep_best": True},
        "record": {"layers_every": 20, "grad_norm_every": 3},
        "seed": 12,
    }


def stepped(epochs: int) -> Json:
    """A residual network on synthetic images: AdamW, steps, clipped gradients, dropped rests.

    It has more than ten classes: the trainer tells metrics of its own.
    """
    return {
        "name": "stepped",
        "dataset": {
            "name": "synthetic",
            "shape": [3, 12, 12],
            "classes": 12,
            "train_samples": 1_010,
            "test_samples": 100,
            "validation": 101,
        },
        "network": RESIDUAL,
        "augment": [{"random_crop": {"padding": 2}}, {"random_horizontal_flip": {"p": 0.5}}],
        "batch_size": 20,
        "drop_last": True,
        "epochs": 2 * epochs,
        "optimizer": {"name": "adamw", "lr": 0.003, "no_decay": ["bias", "norm"]},
        "schedule": {"name": "step", "every_epochs": 3, "gamma": 0.7},
        "grad_clip": {"max_norm": 0.5},
        "checkpoint": {"keep_best": True},
        "seed": 13,
    }


def cut_short(epochs: int) -> Json:
    """One cycle of RMSprop that ends in the middle of an epoch; every gradient is measured."""
    return {
        "name": "cut short",
        "dataset": {**DIGITS, "train_samples": 1_000, "split_seed": 3},
        "network": CONVOLUTIONAL,
        "batch_size": 12,
        "epochs": 2 * epochs,
        "init": {"name": "kaiming_normal"},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1, "weight": "balanced"},
        "optimizer": {"name": "rmsprop", "lr": 0.001, "momentum": 0.5},
        "schedule": {"name": "one_cycle", "max_lr": 0.005},
        "stop": {"max_iterations": 84 * epochs + 31},
        "record": {"grad_norm_every": 1, "layers_every": 33},
        "seed": 14,
    }


KINDS = (momentum, patience, stepped, cut_short)


def disturbed(spec: Json, every_seconds: float) -> Json:
    """The spec as it is submitted to be disturbed: with checkpoints, and ever another try."""
    kept = {**spec.get("checkpoint", {}), "every_seconds": every_seconds}
    return {**spec, "max_attempts": MOST_ATTEMPTS, "checkpoint": kept}


def undisturbed(spec: Json) -> Json:
    """The same training without a single checkpoint: they are no part of the numbers."""
    return disturbed(spec, 3_600)
