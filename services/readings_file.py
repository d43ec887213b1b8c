"""An archived job's readings in their file: of layers, or values of metrics.

An iteration has none of them or several, so rows are found by what the file says of each row
group: the smallest and the largest number in it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from services.packed import Columns, Span, joined
from services.table_file import TableFile


class ReadingsFile:
    """Readings in a file, in the order of their table's key.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say.

    """

    def __init__(self, file: TableFile) -> None:
        self._file = file
        self._keys = tuple(name for name in ("metric", "iteration") if name in file.table.columns)

    def close(self) -> None:
        self._file.close()

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        """Read the named columns of the span's rows, of at most `limit` of them, the first ones."""
        parts, count = [self._file.nothing(names)], 0
        for place in self._groups(span):
            if limit is not None and count >= limit:
                break
            parts.append(self._cut(place, names, span))
            count += _length(parts[-1])
        return {name: series[:limit] for name, series in joined(parts).items()}

    def newest(self, names: Sequence[str], span: Span, limit: int) -> Columns:
        """Read as `read` does, but the last ones of the span."""
        parts, count = [self._file.nothing(names)], 0
        for place in reversed(list(self._groups(span))):
            if count >= limit:
                break
            parts.append(self._cut(place, names, span))
            count += _length(parts[-1])
        found = joined(parts[::-1])
        return {name: series[max(0, count - limit) :] for name, series in found.items()}

    def count(self, span: Span) -> int:
        """Count the span's rows; a group that lies within it is not read."""
        return sum(
            self._file.counts[place]
            if self._lies_within(place, span)
            else _length(self._cut(place, ("iteration",), span))
            for place in self._groups(span)
        )

    def _groups(self, span: Span) -> Iterator[int]:
        """The row groups that may hold rows of the span, in their order."""
        asked = _asked(span)
        for place in range(len(self._file.starts)):
            bounds = {name: self._file.bounds(place, name) for name in self._keys}
            if all(
                low <= asked[name][1] and high >= asked[name][0]
                for name, (low, high) in bounds.items()
            ):
                yield place

    def _lies_within(self, place: int, span: Span) -> bool:
        asked = _asked(span)
        bounds = {name: self._file.bounds(place, name) for name in self._keys}
        return all(
            asked[name][0] <= low and high <= asked[name][1] for name, (low, high) in bounds.items()
        )

    def _cut(self, place: int, names: Sequence[str], span: Span) -> Columns:
        group = self._file.group(place, tuple(dict.fromkeys((*names, *self._keys))))
        inside = np.ones(self._file.counts[place], bool)
        asked = _asked(span)
        for name in self._keys:
            values = group[name].values
            inside &= (values >= asked[name][0]) & (values <= asked[name][1])
        rows = np.flatnonzero(inside)
        # They lie side by side, as the key has them.
        cut = slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0)
        return {name: group[name][cut] for name in names}


def _asked(span: Span) -> dict[str, tuple[int, int]]:
    """By the columns of a key: from which number to which one."""
    asked = {"iteration": (span.first, span.last)}
    if span.metric is not None:
        asked["metric"] = (span.metric, span.metric)
    return asked


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))
