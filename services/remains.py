"""What a deleted job leaves: its rows in bulk, removed some at a time.

Ten million rows take a while to remove. In one transaction with the job's they would hold its
DELETE for minutes, and whoever waits for a row that it has locked; and a vacuum of the tables would
have to wait for its end. Nobody sees these rows: what reads them looks the job up first. What is to
be removed is booked by a trigger on `jobs`, in the transaction that deletes one.
"""

from sqlalchemy import (
    ColumnClause,
    Connection,
    Table,
    and_,
    delete,
    func,
    literal_column,
    select,
    tuple_,
    update,
)

from models.tables import leftovers, metadata, remains

BATCH_ROWS = 50_000

# What grows with a job's length carries no foreign key, so it doesn't go with its job by itself.
BULK: tuple[Table, ...] = tuple(
    table
    for table in metadata.sorted_tables
    if "job_key" in table.c
    and not table.c.job_key.foreign_keys
    and table not in (leftovers, remains)
)
_BY_NAME = {table.name: table for table in BULK}


def sweep(connection: Connection, most_rows: int = BATCH_ROWS) -> bool:
    """Remove some rows that a deleted job has left in a table, unless somebody else is at it.

    Returns:
        Whether there was something to do: then call it again, in a transaction of its own.

    """
    walk_along_the_index(connection)
    left = connection.execute(
        select(leftovers)
        # A later release may have tables that this one knows nothing of.
        .where(leftovers.c.table_name.in_(_BY_NAME))
        .order_by(leftovers.c.job_key, leftovers.c.table_name)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if left is None:
        return False
    mine = and_(leftovers.c.job_key == left.job_key, leftovers.c.table_name == left.table_name)
    table = _BY_NAME[left.table_name]
    reached = _remove(connection, table, left.job_key, left.reached, most_rows)
    if reached is None:
        connection.execute(delete(leftovers).where(mine))
    else:
        connection.execute(update(leftovers).where(mine).values(reached=reached))
    return True


def walk_along_the_index(connection: Connection) -> None:
    """Of a table that was never analysed the planner thinks that a job has few rows, and sorts all.

    (Seen: 2 million rows in 12.5 s; along the index in 2.1 s.)
    """
    for way in ("enable_sort", "enable_bitmapscan", "enable_seqscan"):
        connection.execute(select(func.set_config(way, "off", True)))


def _remove(
    connection: Connection, table: Table, job_key: int, reached: list[int] | None, most: int
) -> list[int] | None:
    """Remove rows in the order of their keys; returns the last one's key, None after the last."""
    place: ColumnClause[object] = literal_column("ctid")
    _, *keys = table.primary_key.columns
    some = select(place.label("place"), *keys).where(table.c.job_key == job_key)
    if reached is not None:
        some = some.where(tuple_(*keys) > tuple_(*reached))
    some_rows = some.order_by(*keys).limit(most).cte("some_rows")
    places = func.any(func.array(select(some_rows.c.place).scalar_subquery()))
    gone = delete(table).where(place == places).cte("gone")
    swept = [some_rows.c[key.name] for key in keys]
    found = select(func.count()).select_from(some_rows).scalar_subquery()
    last = connection.execute(
        select(found.label("found"), *swept)
        .order_by(*(key.desc() for key in swept))
        .limit(1)
        .add_cte(gone)
    ).one_or_none()
    return None if last is None or last.found < most else list(last[1:])
