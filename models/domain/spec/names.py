"""The nearest name that exists, for one that does not."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import Tag

from models.domain.spec.job import JobSpec
from models.domain.spec.part import Part
from models.domain.spec.program import ProgramSpec

FOREIGN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "out_channels": ("channels",),
        "filters": ("channels",),
        "kernel_size": ("kernel", "size"),
        "pool_size": ("size",),
        "kernel": ("size",),
        "strides": ("stride",),
        "out_features": ("features",),
        "units": ("features",),
        "num_groups": ("groups",),
        "negative_slope": ("slope",),
        "alpha": ("slope",),
        "rate": ("p",),
        "drop": ("p",),
        "learning_rate": ("lr",),
        "base_lr": ("lr",),
        "decay": ("weight_decay",),
        "wd": ("weight_decay",),
        "epsilon": ("eps",),
        "beta1": ("betas",),
        "beta2": ("betas",),
        "eta_min": ("min_lr",),
        "step_size": ("every_epochs",),
        "milestones": ("epochs",),
        "num_epochs": ("epochs",),
        "n_epochs": ("epochs",),
        "max_epochs": ("epochs",),
        "warmup": ("warmup_iterations",),
        "warmup_steps": ("warmup_iterations",),
        "criterion": ("loss",),
        "model": ("network",),
        "data": ("dataset",),
        "optim": ("optimizer",),
        "scheduler": ("schedule",),
        "lr_scheduler": ("schedule",),
        "augmentation": ("augment",),
        "transforms": ("augment",),
        "early_stopping": ("stop",),
        "patience": ("patience_epochs",),
        "max_steps": ("max_iterations",),
        "max_grad_norm": ("grad_clip",),
        "clip_grad_norm": ("grad_clip",),
        "gradient_clip_val": ("grad_clip",),
        "validation_split": ("validation",),
        "val_split": ("validation",),
        "num_classes": ("classes",),
        "random_seed": ("seed",),
        "manual_seed": ("seed",),
        "num_threads": ("threads",),
        "amp": ("precision",),
        "dtype": ("precision",),
        "batchsize": ("batch_size",),
        "bs": ("batch_size",),
        "type": ("name",),
        "conv2d": ("conv",),
        "convolution": ("conv",),
        "batchnorm": ("batch_norm",),
        "batchnorm1d": ("batch_norm",),
        "batchnorm2d": ("batch_norm",),
        "bn": ("batch_norm",),
        "groupnorm": ("group_norm",),
        "layernorm": ("layer_norm",),
        "leakyrelu": ("leaky_relu",),
        "maxpool": ("max_pool",),
        "maxpool2d": ("max_pool",),
        "avgpool": ("avg_pool",),
        "avgpool2d": ("avg_pool",),
        "adaptiveavgpool2d": ("global_avg_pool",),
        "gap": ("global_avg_pool",),
        "dropout2d": ("dropout",),
        "dense": ("linear",),
        "fc": ("linear",),
        "fully_connected": ("linear",),
        "block": ("residual",),
        "randomcrop": ("random_crop",),
        "randomhorizontalflip": ("random_horizontal_flip",),
        "flip": ("random_horizontal_flip",),
        "randomerasing": ("cutout",),
        "crossentropyloss": ("cross_entropy",),
        "ce": ("cross_entropy",),
        "mseloss": ("mse",),
        "steplr": ("step",),
        "multisteplr": ("multi_step",),
        "cosineannealinglr": ("cosine",),
        "onecyclelr": ("one_cycle",),
        "resnet": ("resnet18",),
        "vgg": ("vgg11",),
        "lenet": ("lenet5",),
        "cnn": ("small_cnn",),
        "cifar": ("cifar10",),
        "fashionmnist": ("fashion_mnist",),
    }
)
"""What torch, Keras and habit call things, and what they are called here."""

INFERRED: Final = frozenset({"in_channels", "in_features", "num_features", "normalized_shape"})
"""What torch must be told and a spec need not: it follows from the input's shape."""

SHOWN = 60


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that `word` most likely means, or None."""
    names = list(choices)
    lowered = word[:SHOWN].lower().replace("-", "_")
    for known in FOREIGN.get(lowered, ()):
        if known in names:
            return known
    return next(iter(get_close_matches(lowered, names, n=1, cutoff=0.7)), None)


def unknown_field(word: str, part: type[Part]) -> str:
    """What to say of a field that `part` does not have."""
    shown = word if len(word) <= SHOWN else word[:SHOWN] + "…"
    if word in INFERRED:
        return f"unknown field {shown}: leave it out, it follows from the input"
    if part is ProgramSpec and word in JobSpec.model_fields:
        return f"unknown field {shown}: it is a training's, and a program brings its own"
    siblings = _siblings_with(word, part)
    if siblings:
        return f"unknown field {shown}: it belongs to {' and '.join(siblings)}"
    meant = nearest(word, part.model_fields) or _elsewhere(word)
    if meant:
        return f"unknown field {shown}: did you mean {meant}?"
    known = ", ".join(part.model_fields)
    return f"unknown field {shown}: " + (f"known are {known}" if known else "there are none here")


def unknown_choice(word: str, choices: Iterable[str]) -> str:
    """What to say of a name that is none of `choices`."""
    names = list(choices)
    shown = word if len(word) <= SHOWN else word[:SHOWN] + "…"
    meant = nearest(word, names)
    hint = f"did you mean {meant}? " if meant else ""
    return f"unknown name {shown}: {hint}known are {', '.join(names)}"


def _siblings_with(word: str, part: type[Part]) -> list[str]:
    """The other choices in `part`'s place that have the field: momentum is sgd's."""
    for field in JobSpec.model_fields.values():
        parts = parts_in(field.annotation)
        if part in parts.values():
            return [tag[1:] for tag, other in parts.items() if word in other.model_fields]
    return []


def _elsewhere(word: str) -> str | None:
    for name in (word, *FOREIGN.get(word, ())):
        if name in _places():
            return _places()[name]
    return None


@cache
def _places() -> Mapping[str, str]:
    """Fields of the spec's parts that only one part has, by name: `lr` is `optimizer.lr`."""
    found: dict[str, set[str]] = {name: {name} for name in JobSpec.model_fields}
    for top, field in JobSpec.model_fields.items():
        if top in {"network", "augment"}:
            continue
        for part in parts_in(field.annotation).values():
            for name in part.model_fields:
                found.setdefault(name, set()).add(f"{top}.{name}")
    return {name: next(iter(paths)) for name, paths in found.items() if len(paths) == 1}


def parts_in(annotation: Any) -> dict[str, type[Part]]:  # noqa: ANN401 - any annotation
    """The parts that a field's annotation allows, by their union's tag ("" where none)."""
    return dict(_parts(annotation, ""))


def _parts(annotation: Any, tag: str) -> Iterator[tuple[str, type[Part]]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield tag, annotation
        return
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        tags = [mark.tag for mark in arguments[1:] if isinstance(mark, Tag)]
        yield from _parts(arguments[0], tags[0] if tags else tag)
        return
    for argument in arguments:
        yield from _parts(argument, tag)
