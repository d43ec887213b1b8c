"""Curves of what is measured once an epoch: few enough to be joined as they are read."""

import numpy as np
from sqlalchemy import Connection, select

from models.tables import epochs
from services.aggregates import of_rows
from services.curve_cover import CurveSpan, level_for
from services.parts import Parts
from services.rollups import width_of
from services.series import EpochSeries


def read_epoch_parts(
    connection: Connection, series: EpochSeries, span: CurveSpan
) -> tuple[int, Parts]:
    """Read a series of epochs, each of them a row at its last iteration.

    Returns:
        How many epochs a point stands for, and the rows; `start` counts epochs.

    """
    column = epochs.c[series.column]
    rows = connection.execute(
        select(epochs.c.epoch, epochs.c.last_iteration, column)
        .where(
            epochs.c.job_key == span.job_key,
            epochs.c.last_iteration.between(span.first, span.last),
            column.is_not(None),
        )
        .order_by(epochs.c.epoch)
    ).all()
    number = np.array([row[0] for row in rows], np.int64)
    iteration = np.array([row[1] for row in rows], np.int64)
    values = np.array([row[2] for row in rows], np.float64)
    parts = Parts(number, of_rows(iteration, values, np.ones(len(rows), dtype=bool)))
    if len(rows) <= span.points:
        return 1, parts
    return width_of(level_for(rows[0][0], rows[-1][0], span.points)), parts
