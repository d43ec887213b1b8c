"""A curve of what is measured now and then reads little, wherever its values lie."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, delete, text

from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from models.tables import rollups
from services.archive import Archives
from services.archiving import want
from services.claims import Slot, claim
from services.curves import Curve, CurveQuery, read_curve
from services.database import snapshot, transaction
from services.endings import Ending, end_attempt
from services.pages import Page
from services.recording import Owner, flush
from tests.archived import archiver
from tests.bookings import book_job, id_of
from tests.pretenders import make_rows

ROWS = 20_000
LEASE_SECONDS = 60
Write = Callable[[Sequence[int], int], Owner]
_TOUCHED = text("""
    SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
    FROM pg_stat_xact_user_tables WHERE relname = 'iterations'
""")


@pytest.fixture
def write(engine: Engine) -> Write:
    """Write a running job with gradient norms at these iterations alone, whatever its spec says."""

    def write(measured: Sequence[int], every: int) -> Owner:
        with transaction(engine) as connection:
            key = book_job(connection, record={"grad_norm_every": every})
            claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
            assert claimed is not None
            owner = Owner(key, claimed.attempt, LEASE_SECONDS)
            rows = make_rows(1, ROWS)
            rows["has_grad_norm"] = np.isin(rows["iteration"], list(measured))
            rows["grad_norm"] = rows["iteration"] / 7
            flush(connection, owner, Page(rows=rows))
            return owner

    return write


def touched(connection: Connection) -> int:
    found: int = connection.execute(_TOUCHED).scalar_one()
    return found


def drawn(engine: Engine, owner: Owner, query: CurveQuery) -> tuple[Curve, int]:
    """The curve, and how many rows of iterations the server has looked at for it."""
    job_id = id_of(engine, owner.job_key)
    with snapshot(engine) as connection:
        before = touched(connection)
        curve = read_curve(connection, job_id, query, Archives("/nowhere"))
        return curve, touched(connection) - before


def check(curve: Curve, measured: Sequence[int]) -> None:
    assert curve.bucket == 1
    assert curve.parts.first.tolist() == list(measured)
    assert curve.parts.count.tolist() == [1] * len(measured)
    for each in (curve.parts.min, curve.parts.max, curve.mean()):
        assert each.tolist() == [at / 7 for at in measured]


@pytest.mark.parametrize("every", [0, 1, 10])
def test_what_was_never_measured_is_not_looked_for(
    engine: Engine, write: Write, every: int
) -> None:
    owner = write([], every)
    curve, looked_at = drawn(engine, owner, CurveQuery("grad_norm", points=100))
    check(curve, [])
    assert looked_at < 500


@pytest.mark.parametrize("every", [0, 1, 7, 1_500])
def test_values_out_of_the_jobs_rhythm_are_found_without_a_look_at_the_rest(
    engine: Engine, write: Write, every: int
) -> None:
    measured = [7, 5_001, 5_002, 5_120, 5_121, 12_000, 12_001, 12_002, 19_990, ROWS]
    owner = write(measured, every)
    curve, looked_at = drawn(engine, owner, CurveQuery("grad_norm", points=20))
    check(curve, measured)
    assert looked_at < 1_000
    curve, _ = drawn(engine, owner, CurveQuery("grad_norm", first=5_002, last=12_001, points=10))
    check(curve, [at for at in measured if 5_002 <= at <= 12_001])


def test_values_in_the_jobs_rhythm_are_found_where_it_has_them(
    engine: Engine, write: Write
) -> None:
    measured = [1, *range(1_500, ROWS, 1_500)]
    owner = write(measured, 1_500)
    curve, looked_at = drawn(engine, owner, CurveQuery("grad_norm", points=20))
    check(curve, measured)
    assert looked_at < 500


def test_they_are_found_in_a_book_without_rollups_and_in_an_archive(
    engine: Engine, write: Write, tmp_path: Path
) -> None:
    measured = [2, 3, 5_001, 5_002, 19_990]
    owner = write(measured, 10)
    settings = Settings(home=tmp_path)
    query = CurveQuery("grad_norm", points=20)
    with transaction(engine) as connection:
        ending = Ending(Outcome.SUCCEEDED, StopReason.EPOCHS)
        end_attempt(connection, owner, Page(), ending)
        want(connection, owner.job_key)
    archiver(engine, settings).look()
    job_id, archives = id_of(engine, owner.job_key), Archives(settings.artifacts_url)
    with snapshot(engine) as connection:
        check(read_curve(connection, job_id, query, archives), measured)
    with transaction(engine) as connection:
        assert connection.execute(delete(rollups)).rowcount
    with snapshot(engine) as connection:
        check(read_curve(connection, job_id, query, archives), measured)


def test_they_are_found_in_a_table_without_rollups(engine: Engine, write: Write) -> None:
    measured = [2, 3, 5_001, 5_002, 19_990]
    owner = write(measured, 10)
    with transaction(engine) as connection:
        assert connection.execute(delete(rollups)).rowcount
    curve, _ = drawn(engine, owner, CurveQuery("grad_norm", points=20))
    check(curve, measured)
