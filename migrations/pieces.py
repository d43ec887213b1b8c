"""The transactions of a revision: one, or several where it has much to write.

A revision that commits in between is begun anew where it fails after that: what it has done by
then must be good to do again, and good for the release before.
"""

from sqlalchemy import Connection, text

# Two such waits are shorter than PostgreSQL's `deadlock_timeout`, 1 s: where a migration and
# somebody else wait for each other it is the migration that gives way, and is run again. Nor do
# readers queue up behind it for long.
LOCK_TIMEOUT = "400ms"


def begin(connection: Connection) -> None:
    """Begin a transaction that waits for no lock for long."""
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": LOCK_TIMEOUT}
    )


def commit_piece(connection: Connection) -> None:
    """Commit what the revision has done so far, and begin its next transaction."""
    connection.commit()
    begin(connection)
