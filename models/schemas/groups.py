"""Jobs that share a value, and statistics of what came of them."""

from pydantic import BaseModel, ConfigDict, JsonValue

from models.schemas.numbers import Number


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Statistics(_Answer):
    """Of the finite values; `std` is the sample's, null below two.

    `count` is how many jobs have the number, those whose number is not finite among them.
    """

    count: int
    non_finite: int
    mean: Number | None
    std: Number | None
    min: Number | None
    max: Number | None


class SummaryStatistics(_Answer):
    final_loss: Statistics
    best_loss: Statistics
    train_loss: Statistics
    train_accuracy: Statistics
    val_loss: Statistics
    val_accuracy: Statistics
    test_loss: Statistics
    test_accuracy: Statistics


class JobGroup(_Answer):
    """The jobs with one value of the field; null: those that have none."""

    value: JsonValue
    jobs: int
    summary: SummaryStatistics


class JobGroups(_Answer):
    group_by: str
    items: list[JobGroup]
    next_cursor: str | None
