"""A metric's values as numpy holds them, from the pipe to the book."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.domain.metrics import Metric

METRIC_DTYPE = np.dtype([("metric", "<u2"), ("iteration", "<i8"), ("value", "<f8")])
"""One value. `metric` is a place in the list of metrics that stands beside it."""

Values = npt.NDArray[np.void]
"""Values of METRIC_DTYPE; those of one metric in the order of their iterations."""


@dataclass(frozen=True, slots=True, eq=False)
class MetricValues:
    """Some values, and the metrics that they are of."""

    metrics: tuple[Metric, ...]
    values: Values

    def __len__(self) -> int:
        return len(self.values)

    def part(self, chosen: npt.NDArray[np.bool_]) -> "MetricValues":
        return MetricValues(self.metrics, self.values[chosen])
