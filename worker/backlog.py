"""Metrics that a training has told and that wait for the row of their iteration.

Telling one is a look into a dictionary and an append: what it costs to send them is paid a few
times a second, with the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.domain.metrics import MOST_METRICS, Metric, MetricKind, MetricsBroken, check_name
from models.metrics import METRIC_DTYPE, MetricValues

MOST_WAITING = 2_000_000
"""Values whose rows do not come."""


@dataclass(slots=True)
class _Told:
    place: int
    kind: MetricKind
    iteration: int = 0


class MetricBacklog:
    """Holds values until they are sent; not safe for several threads at once."""

    def __init__(self) -> None:
        self._known: dict[str, _Told] = {}
        self._metrics: list[Metric] = []
        self._waiting: list[tuple[int, int, float]] = []
        self._soonest = 0

    def add(self, iteration: int, values: Mapping[str, float], kind: MetricKind) -> None:
        """Keep values of one iteration; all of them, or none where one can't be booked.

        Raises:
            MetricsBroken: a name is none, or was told with another kind; there are too many
                names; or the metric has a value of this iteration, or of a later one.

        """
        if iteration < 1:
            raise MetricsBroken(f"metrics at iteration {iteration}: iterations count from 1")
        told = [(self._find(name, kind), name, float(value)) for name, value in values.items()]
        for metric, name, _ in told:
            if metric.kind is not kind:
                raise MetricsBroken(f"metric {name} is one of an {metric.kind}, not of an {kind}")
            if iteration <= metric.iteration:
                at = f"iteration {metric.iteration}"
                raise MetricsBroken(f"metric {name} at iteration {iteration} comes after {at}")
        if len(self._waiting) + len(told) > MOST_WAITING:
            raise MetricsBroken(
                f"more than {MOST_WAITING:,} values wait for their iterations' rows"
            )
        if told and (not self._waiting or iteration < self._soonest):
            self._soonest = iteration
        for metric, _, value in told:
            metric.iteration = iteration
            self._waiting.append((metric.place, iteration, value))

    def take(self, reached: int) -> MetricValues | None:
        """Give away the values of iterations up to this one, in the order in which they came."""
        if not self._waiting or self._soonest > reached:
            return None
        values = np.array(self._waiting, METRIC_DTYPE)
        due = values["iteration"] <= reached
        if due.all():
            self._waiting.clear()
        else:
            self._waiting = [each for each in self._waiting if each[1] > reached]
            self._soonest = min(iteration for _, iteration, _ in self._waiting)
            values = values[due]
        used, values["metric"] = np.unique(values["metric"], return_inverse=True)
        return MetricValues(tuple(self._metrics[place] for place in used), values)

    def check_rows_came(self, reached: int) -> None:
        """Hold a training that ends after this iteration against what it has told.

        Raises:
            MetricsBroken: a value's iteration was never finished.

        """
        for place, iteration, _ in self._waiting:
            if iteration > reached:
                name = self._metrics[place].name
                raise MetricsBroken(f"metric {name} at iteration {iteration}, which has no row")

    def _find(self, name: str, kind: MetricKind) -> _Told:
        known = self._known.get(name)
        if known is None:
            check_name(name)
            if len(self._metrics) == MOST_METRICS:
                raise MetricsBroken(f"metric {name[:100]}: a job has at most {MOST_METRICS}")
            known = self._known[name] = _Told(len(self._metrics), kind)
            self._metrics.append(Metric(name, kind))
        return known
