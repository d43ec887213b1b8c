"""What is done to training samples each time they are used, in order."""

from typing import Annotated, ClassVar

from pydantic import Field, Tag

from models.domain.spec.part import Keyed, Size, by_kind


class RandomCrop(Keyed):
    """Pads with zeros (after normalisation) and cuts the old size out at random."""

    kind: ClassVar[str] = "random_crop"
    padding: Annotated[int, Field(ge=1, le=1_024)] = 4


class RandomHorizontalFlip(Keyed):
    kind: ClassVar[str] = "random_horizontal_flip"
    p: Annotated[float, Field(ge=0, le=1)] = 0.5


class Cutout(Keyed):
    """Sets a square of `size` pixels, its centre drawn at random, to zero."""

    kind: ClassVar[str] = "cutout"
    size: Size = 8


AugmentKind = Annotated[
    Annotated[RandomCrop, Tag("\0random_crop")]
    | Annotated[RandomHorizontalFlip, Tag("\0random_horizontal_flip")]
    | Annotated[Cutout, Tag("\0cutout")],
    by_kind("random_crop", "random_horizontal_flip", "cutout"),
]

AugmentSpec = Annotated[tuple[AugmentKind, ...], Field(strict=False, max_length=16)]
