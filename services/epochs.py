"""Reading a job's epochs."""

from uuid import UUID

from sqlalchemy import Connection, select

from models.schemas.readings import Epoch, EpochList
from models.tables import epochs
from services.book import Place, open_book

_COLUMNS = [epochs.c[name] for name in Epoch.model_fields]


def list_epochs(connection: Connection, job_id: UUID, limit: int, cursor: str | None) -> EpochList:
    """Read finished epochs, the first one first.

    Raises:
        JobMissing, CursorInvalid, Rewound: as they say.

    """
    book = open_book(connection, job_id)
    place = Place.of(book, "epochs")
    after = place.find(connection, cursor)
    rows = connection.execute(
        select(*_COLUMNS)
        .where(epochs.c.job_key == book.job_key, epochs.c.epoch > after)
        .order_by(epochs.c.epoch)
        .limit(limit + 1)
    ).all()
    items = [Epoch.model_validate(row) for row in rows[:limit]]
    more = len(rows) > limit
    return EpochList(
        items=items,
        next_cursor=place.mark(items[-1].epoch, items[-1].last_iteration) if more else None,
    )
