"""The end of an attempt: the last rows, the state, the count and the hash, or none of them."""

import hashlib
import math

import pytest
from sqlalchemy import Engine, delete, func, update

from models.domain.checkpoints import Kept
from models.domain.errors import FenceLost
from models.domain.lifecycle import Outcome, StopReason, Wish, pause_before_retry
from models.tables import iterations, jobs, progress
from services.claims import Slot, claim
from services.closing import loss_sha256
from services.database import transaction
from services.endings import Ending, end_attempt
from services.pages import Page
from services.recording import Answer, Owner
from tests.bookings import attempts_of, events_of, job_of
from tests.integration.owned import LEASE_SECONDS, fill, write
from tests.pretenders import make_rows


def end(engine: Engine, owner: Owner, page: Page, ending: Ending) -> Answer:
    with transaction(engine) as connection:
        return end_attempt(connection, owner, page, ending)


def test_the_rows_are_counted_once_the_job_ends(engine: Engine, owner: Owner) -> None:
    write(engine, owner, Page(rows=make_rows(1, 5)))
    with transaction(engine) as connection:
        connection.execute(delete(iterations).where(iterations.c.iteration == 3))
    assert job_of(engine, owner.job_key).rows == 5
    end(engine, owner, Page(rows=make_rows(6, 1)), Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rows) == (6, 5)


def test_an_end_that_brings_no_hash_gets_that_of_the_book(engine: Engine, owner: Owner) -> None:
    rows = make_rows(1, 5)
    write(engine, owner, Page(rows=rows))
    end(engine, owner, Page(), Ending(Outcome.ERROR, StopReason.ERROR))
    job = job_of(engine, owner.job_key)
    assert job.loss_sha256 == hashlib.sha256(rows["loss"].tobytes()).hexdigest()


def test_an_attempt_without_a_row_has_no_last_iteration(engine: Engine, owner: Owner) -> None:
    end(engine, owner, Page(), Ending(Outcome.ERROR, StopReason.ERROR))
    (attempt,) = attempts_of(engine, owner.job_key)
    assert (attempt.first_iteration, attempt.last_iteration) == (1, None)


def test_the_end_is_one_transaction_with_the_last_rows(engine: Engine, owner: Owner) -> None:
    rows = make_rows(1, 4)
    write(engine, owner, Page(rows=rows[:2]))
    digest = hashlib.sha256(rows["loss"].tobytes()).hexdigest()
    ending = Ending(
        Outcome.SUCCEEDED,
        StopReason.EPOCHS,
        exit_code=0,
        loss_sha256=digest,
        weights_sha256="w",
    )
    end(engine, owner, Page(rows=rows[2:]), ending)
    job = job_of(engine, owner.job_key)
    assert (job.state, job.stop_reason, job.final_loss) == ("succeeded", "epochs", 0.25)
    assert (job.loss_sha256, job.weights_sha256) == (digest, "w")
    assert (job.attempt, job.lease_until, job.phase, job.error) == (None, None, "done", None)
    (attempt,) = attempts_of(engine, owner.job_key)
    assert (attempt.outcome, attempt.exit_code, attempt.last_iteration) == ("succeeded", 0, 4)
    with pytest.raises(FenceLost):
        write(engine, owner, Page())


def test_the_hash_of_the_losses_in_the_book_is_that_of_the_bytes_delivered(
    engine: Engine, owner: Owner
) -> None:
    rows = make_rows(1, 20_000)
    rows["loss"][7] = math.nan
    rows["loss"][9] = -math.inf
    with transaction(engine) as connection:
        empty = loss_sha256(connection, owner.job_key)
    write(engine, owner, Page(rows=rows))
    with transaction(engine) as connection:
        found = loss_sha256(connection, owner.job_key)
    assert found == hashlib.sha256(rows["loss"].tobytes()).hexdigest()
    assert empty == hashlib.sha256(b"").hexdigest()


def test_an_error_keeps_its_words(engine: Engine, owner: Owner) -> None:
    error = {"type": "E", "message": "a\x00b", "traceback": None}
    end(engine, owner, Page(), Ending(Outcome.ERROR, StopReason.ERROR, error=error, signal=11))
    job = job_of(engine, owner.job_key)
    assert (job.state, job.error) == ("failed", {"type": "E", "message": "ab", "traceback": None})
    assert attempts_of(engine, owner.job_key)[0].signal == 11


def test_what_a_shutdown_cuts_off_goes_back_into_the_queue_with_all_it_has(
    engine: Engine, owner: Owner
) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
    end(engine, owner, Page(rows=make_rows(31, 2)), Ending(Outcome.PREEMPTED, None))
    job = job_of(engine, owner.job_key)
    assert (job.state, job.phase, job.attempt, job.iteration) == ("queued", "queued", None, 32)
    assert (job.failures, job.attempts_made, job.finished_at) == (0, 1, None)
    assert (job.not_before, job.iterations_per_second) == (None, None)
    assert events_of(engine, owner.job_key)[-1].type == "state"
    (attempt,) = attempts_of(engine, owner.job_key)
    assert (attempt.outcome, attempt.last_iteration) == ("preempted", 32)
    with transaction(engine) as connection:
        again = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
    assert again is not None
    assert (again.job_key, again.attempt, again.iteration) == (owner.job_key, 2, 32)
    assert again.checkpoints == (Kept(30, "c3", "s"), Kept(20, "c2", "s"), Kept(10, "c1", "s"))


LOST = Ending(Outcome.LOST, None, error={"type": "Lost", "message": "m", "traceback": None})


def want(engine: Engine, owner: Owner, wish: Wish) -> None:
    with transaction(engine) as connection:
        connection.execute(
            update(progress)
            .where(progress.c.job_key == owner.job_key)
            .values(wanted=wish, wanted_at=func.clock_timestamp())
        )


@pytest.mark.parametrize(
    ("wish", "state", "kept"),
    [
        (None, "queued", None),
        (Wish.STOP, "queued", "stop"),
        (Wish.PAUSE, "paused", None),
        (Wish.CANCEL, "cancelled", None),
    ],
)
def test_what_was_wanted_of_an_attempt_that_failed_is_done_all_the_same(
    engine: Engine, owner: Owner, wish: Wish | None, state: str, kept: str | None
) -> None:
    if wish is not None:
        want(engine, owner, wish)
    end(engine, owner, Page(), LOST)
    job = job_of(engine, owner.job_key)
    assert (job.state, job.wanted, job.attempt) == (state, kept, None)
    assert job.failures == (0 if wish is Wish.CANCEL else 1)
    assert (job.not_before is not None) == (state == "queued")
    assert job.error is None
    (attempt,) = attempts_of(engine, owner.job_key)
    assert (attempt.outcome, attempt.error) == ("lost", LOST.error)


def test_the_last_attempt_that_is_allowed_ends_the_job_with_its_error(
    engine: Engine, owner: Owner
) -> None:
    with transaction(engine) as connection:
        connection.execute(update(jobs).values(failures=2))
    end(engine, owner, Page(rows=make_rows(1, 5)), LOST)
    job = job_of(engine, owner.job_key)
    assert (job.state, job.stop_reason, job.error) == ("failed", "attempts", LOST.error)
    assert (job.rows, job.phase, len(job.loss_sha256)) == (5, "done", 64)


def test_the_pause_before_a_retry_doubles_up_to_a_minute() -> None:
    assert [pause_before_retry(failures) for failures in (1, 2, 3, 5, 6, 99)] == [
        2,
        4,
        8,
        32,
        60,
        60,
    ]
