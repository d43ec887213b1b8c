"""Archives jobs for which that is wished, or which are old: a round of each worker."""

import posixpath
import time
from collections.abc import Callable

import fsspec
from sqlalchemy import Engine

from foundation.faults import ArchiveMoment, reach
from foundation.logging import get_logger
from foundation.settings import Settings
from services.archiving import (
    Emptied,
    Wish,
    book_archive,
    find_emptied,
    find_wishes,
    refuse,
    remove_rows,
    settle,
    want_old,
)
from services.database import transaction
from services.deletion import delete_files
from services.hints import Tell, tell_nobody
from services.salvage import is_gone
from services.session_locks import Work, held
from worker.files import remove
from worker.filing import LeftOff, archive_folder, make_files
from worker.portions import Unfit
from worker.rounds import Round
from worker.shutdown import Shutdown

log = get_logger("worker")

LOOK_SECONDS = 2.0
AGE_SECONDS = 60.0
"""Between two looks for jobs that are old."""
AGAIN_SECONDS = 60.0
"""A job whose files could not be written is left alone for so long."""
BREATH_SECONDS = 0.02
"""Between two batches of rows that are removed: flushes of others come first."""


class Archiver:
    """Makes files of finished jobs' rows, and then removes the rows.

    Args:
        engine: the way to the database.
        settings: the worker's.
        shutdown: the worker's; once begun, what was begun is left to others.
        tell: is told of each job that is archived.
        clock: seconds that only rise.

    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        shutdown: Shutdown,
        tell: Tell = tell_nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._shutdown = shutdown
        self._tell = tell
        self._clock = clock
        self._age_due_at = 0.0
        self._again_at: dict[int, float] = {}
        self.round = Round("archiver", LOOK_SECONDS, self.look)

    def look(self) -> None:
        """Do all that there is to do now."""
        self._want_old()
        self._fulfil_wishes()
        self._remove_rows()
        with transaction(self._engine) as connection:
            emptied = find_emptied(connection)
        for each in emptied:
            self._settle(each)

    def _want_old(self) -> None:
        days = self._settings.archive.after_days
        if days is None or self._clock() < self._age_due_at:
            return
        self._age_due_at = self._clock() + AGE_SECONDS
        with transaction(self._engine) as connection:
            count = want_old(connection, days)
        if count:
            log.info("archive.wanted_by_age", jobs=count)

    def _fulfil_wishes(self) -> None:
        now = self._clock()
        self._again_at = {job: at for job, at in self._again_at.items() if at > now}
        # No transaction: a lock of the session is held for as long as a file is made.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for wish in find_wishes(connection, without=tuple(self._again_at)):
                if self._shutdown.begun:
                    return
                with held(connection, Work.ARCHIVE, wish.job_key) as mine:
                    if mine:
                        self._fulfil(wish)

    def _fulfil(self, wish: Wish) -> None:
        words = log.bind(job_id=str(wish.job_id))
        try:
            self._file(wish)
        except LeftOff:
            return
        except Unfit as why:
            with transaction(self._engine) as connection:
                refuse(connection, wish, str(why))
            words.warning("archive.refused", reason=str(why))
            self._forget_folder_if_gone(wish)
        except Exception as error:  # noqa: BLE001 - stores have errors of their own; others wait
            self._again_at[wish.job_key] = self._clock() + AGAIN_SECONDS
            words.warning("archive.put_off", reason=repr(error)[:500])

    def _file(self, wish: Wish) -> None:
        began = self._clock()
        url = self._settings.artifacts_url
        files = make_files(self._engine, url, wish, lambda: self._shutdown.begun)
        reach(ArchiveMoment.WRITTEN)
        # Where this is not answered nobody knows whether the book names the files: they stay.
        with transaction(self._engine) as connection:
            booked = book_archive(connection, wish, files)
        if not booked:
            # Nor will it ever be: the wish is gone.
            for file in files:
                remove(file["uri"])
            self._forget_folder_if_gone(wish)
            return
        reach(ArchiveMoment.BOOKED)
        self._tell(wish.job_id)
        log.info(
            "archive.booked",
            job_id=str(wish.job_id),
            rows=wish.rows,
            bytes=sum(file["bytes"] for file in files),
            seconds=round(self._clock() - began, 3),
        )

    def _forget_folder_if_gone(self, wish: Wish) -> None:
        """A deletion may have gone through the job's folder before this worker wrote into it."""
        with transaction(self._engine) as connection:
            gone = is_gone(connection, wish.job_key)
        if gone:
            delete_files(self._settings.artifacts_url, wish.job_id)

    def _remove_rows(self) -> None:
        began, batches = self._clock(), 0
        while not self._shutdown.begun and self._remove_some():
            batches += 1
            reach(ArchiveMoment.ROWS_REMOVED)
            time.sleep(BREATH_SECONDS)
        if batches:
            log.info("archive.rows_removed", batches=batches, seconds=self._clock() - began)

    def _remove_some(self) -> bool:
        with transaction(self._engine) as connection:
            return remove_rows(connection)

    def _settle(self, emptied: Emptied) -> None:
        """Remove what tries have left that were cut off, then write down that all is done.

        Only the booked files may be there by now: whoever makes others finds no wish any more,
        and removes them.
        """
        folder = archive_folder(self._settings.artifacts_url, emptied.job_id)
        booked = set(map(posixpath.basename, emptied.uris))
        try:
            store, path = fsspec.url_to_fs(folder)
            found = store.ls(path, detail=False)
        except FileNotFoundError:
            found = []
        except Exception as error:  # noqa: BLE001 - every store has errors of its own
            log.warning("archive.not_settled", folder=folder, reason=repr(error)[:500])
            return
        for name in map(posixpath.basename, found):
            if name not in booked:
                remove(f"{folder}/{name}")
        with transaction(self._engine) as connection:
            settle(connection, emptied.job_key)
