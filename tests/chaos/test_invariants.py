"""The invariants hold of a book in order, and each thing that is wrong with one is named."""

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from models.tables import artifacts, attempts, checkpoints
from services.database import transaction
from tests.chaos.book import read_book
from tests.chaos.invariants import Bounds, violations_of
from tests.chaos.orderly import book_disturbed, book_running, book_undisturbed
from tests.chaos.twins import Twins
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

BOUNDS = Bounds(overdue=1.0, outliving=1.0)

IN_THE_ROWS = [
    ("DELETE FROM iterations WHERE iteration = 30", "29 rows are there"),
    ("DELETE FROM iterations WHERE iteration = 7", "row 7 has iteration 8"),
    ("UPDATE iterations SET epoch = 1 WHERE iteration = 11", "row 11 has epoch 1"),
    ("UPDATE iterations SET batch = 2 WHERE iteration = 11", "row 11 has batch 2"),
    ("UPDATE iterations SET samples = 7 WHERE iteration = 11", "row 11 has samples 7"),
    ("UPDATE progress SET iteration = 29", "progress says iteration 29 and 30 rows"),
    ("UPDATE progress SET rows = 31", "progress says iteration 30 and 31 rows"),
    ("UPDATE progress SET latest_loss = 1", "the latest loss is 1.0"),
    ("UPDATE epochs SET train_loss = train_loss + 1e-6 WHERE epoch = 2", "epoch 2 has train_loss"),
    ("UPDATE epochs SET samples = 81 WHERE epoch = 2", "epoch 2 has 10 batches and 81 samples"),
    ("UPDATE epochs SET last_iteration = 21 WHERE epoch = 2", "epoch 2 goes from 11 to 21"),
    ("DELETE FROM epochs WHERE epoch = 2", "epochs are [1, 3]"),
    ("DELETE FROM epochs", "0 epochs at iteration 30"),
    ("DELETE FROM layer_readings WHERE iteration = 10", "layer readings"),
    ("UPDATE layer_readings SET iteration = 31 WHERE iteration = 30", "layer readings"),
    ("DELETE FROM metric_values WHERE iteration = 9", "are not numbered from 1 to 29"),
    ("DELETE FROM metric_values WHERE iteration = 30", "metric a/each has count 30"),
    ("DELETE FROM metrics WHERE name = 'a.third'", "values of the metrics [2], which have no"),
    ("UPDATE metrics SET max = 2 WHERE name = 'a/each'", "metric a/each has max 2.0"),
    ("UPDATE metrics SET last = 2 WHERE name = 'a/each'", "metric a/each has last 2.0"),
    ("UPDATE metric_values SET iteration = 31 WHERE iteration = 30", "to 31, the book to 30"),
    ("UPDATE metric_values SET iteration = 19 WHERE metric = 3 AND ordinal = 2", "at [19], where"),
]
IN_THE_ROLLUPS = [
    ("DELETE FROM rollups", "rollups (level, bucket) are not those of 30 rows, first at [(1, 0)]"),
    ("UPDATE rollups SET bucket = 1", "not those of 30 rows"),
    ("UPDATE rollups SET loss_max = loss_max + 1e-12", "rows' loss"),
    ("UPDATE rollups SET lr_min = NULL", "rows' lr"),
    ("UPDATE rollups SET grad_norm_sum = grad_norm_sum * (1 + 1e-11)", "rows' grad_norm"),
    ("UPDATE iterations SET loss = 9 WHERE iteration = 16", "rollup 0 of level 1"),
]
IN_THE_STORY = [
    ("DELETE FROM events WHERE id = 5", "event ids are not 1 to"),
    ("UPDATE progress SET last_event = last_event + 1", "event ids are not 1 to"),
    ("DELETE FROM events WHERE id = 1", "the first move is"),
    ("DELETE FROM events WHERE type = 'rewound'", "0 rewinds are told, 1 are counted"),
    (
        """UPDATE events SET data = '{"from": "queued", "to": "paused"}'
           WHERE type = 'state' AND data ->> 'to' = 'running'""",
        "after a move to paused comes one from running",
    ),
    ("UPDATE attempts SET ended_at = NULL, outcome = NULL WHERE number = 2", "[2] are open"),
    ("UPDATE progress SET attempt = 2, lease_until = now()", "attempt 2 owns the job"),
    ("DELETE FROM attempts WHERE number = 1", "attempts are [2], 2 were made"),
    ("UPDATE attempts SET outcome = NULL WHERE number = 1", "as None"),
    ("UPDATE attempts SET error = NULL WHERE number = 1", "killed without evidence"),
    ("UPDATE attempts SET signal = 15 WHERE number = 1", "killed by signal 15"),
    ("UPDATE attempts SET first_iteration = 12 WHERE number = 2", "begins with 12"),
    ("UPDATE attempts SET last_iteration = 19 WHERE number = 1", "rewound from 20 to 10 at 19"),
    ("UPDATE attempts SET last_iteration = 29 WHERE number = 2", "the attempts end at 29"),
]
AT_THE_END = [
    ("UPDATE jobs SET loss_sha256 = 'x'", "loss_sha256 is x, its rows give"),
    ("UPDATE jobs SET weights_sha256 = 'x'", "weights_sha256 is x"),
    ("UPDATE jobs SET state = 'failed'", "it failed: None"),
    ("UPDATE progress SET phase = 'train'", "it has ended: lease None, wanted None, train"),
    ("UPDATE artifacts SET sha256 = 'x'", "weights.safetensors is not as booked"),
    ("UPDATE artifacts SET bytes = 1", "weights.safetensors is not as booked"),
    ("UPDATE checkpoints SET iteration = 31 WHERE iteration = 30", "checkpoints at [31]"),
    ("UPDATE checkpoints SET uri = '/nowhere'", "/nowhere is not as booked"),
    ("UPDATE jobs SET spec = jsonb_set(spec, '{checkpoint,keep}', '1')", "2 checkpoints are kept"),
]
AGAINST_THE_TWIN = [
    # One unit in the last place.
    ("UPDATE iterations SET loss = 0.20000000000000004 WHERE iteration = 5", "its twin's is 0.2"),
    ("UPDATE iterations SET grad_norm = NULL WHERE iteration = 4", "grad_norm is nan"),
    ("UPDATE epochs SET test_loss = 1 WHERE epoch = 2", "epoch 2 differs from its twin's"),
    ("UPDATE layer_readings SET error_norm = 2 WHERE iteration = 10", "layer reading 3 differs"),
    ("UPDATE metric_values SET value = 2 WHERE iteration = 7", "metrics differ from its twin's"),
    ("UPDATE summaries SET best_iteration = 1", "summary 1 differs"),
    ("UPDATE jobs SET weights_sha256 = 'x'", "weights_sha256 is x, its twin's"),
    ("UPDATE jobs SET stop_reason = 'patience'", "stop_reason is patience, its twin's epochs"),
    ("DELETE FROM artifacts", "weights.safetensors has sha256 None"),
    ("DELETE FROM iterations WHERE iteration > 20", "iterations, epochs, layer readings: (20,"),
]


def _texts(engine: Engine, job_id: str, twins: Twins, bounds: Bounds = BOUNDS) -> list[str]:
    book = read_book(engine, job_id)
    return [violation.text for violation in violations_of(book, twins, engine, bounds)]


def _only_this_job(statement: str, key: int) -> str:
    """The statement, with its condition narrowed to the job."""
    column = "key" if statement.startswith("UPDATE jobs") else "job_key"
    start, word, condition = statement.partition(" WHERE ")
    return f"{start} WHERE {column} = {key}" + (f" AND ({condition})" if word else "")


def _plant(engine: Engine, job_id: str, statement: str) -> None:
    key = read_book(engine, job_id).job.key
    with transaction(engine) as connection:
        connection.exec_driver_sql(_only_this_job(" ".join(statement.split()), key))


def test_a_job_that_was_killed_and_went_on_is_in_order(engine: Engine, tmp_path: Path) -> None:
    twin = read_book(engine, book_undisturbed(engine, tmp_path))
    twins = {twin.job.spec_sha256: twin}
    for make in (book_disturbed, book_running):
        assert _texts(engine, make(engine, tmp_path), twins) == []


@pytest.mark.parametrize(
    "plants",
    [IN_THE_ROWS, IN_THE_ROLLUPS, IN_THE_STORY, AT_THE_END, AGAINST_THE_TWIN],
    ids=["rows", "rollups", "story", "end", "twin"],
)
def test_what_is_wrong_with_a_book_is_named(
    engine: Engine, tmp_path: Path, plants: list[tuple[str, str]]
) -> None:
    twin = read_book(engine, book_undisturbed(engine, tmp_path))
    twins = {twin.job.spec_sha256: twin} if plants is AGAINST_THE_TWIN else {}
    unnamed = {}
    for statement, words in plants:
        job_id = book_disturbed(engine, tmp_path)
        _plant(engine, job_id, statement)
        found = _texts(engine, job_id, twins)
        if not any(words in text for text in found):
            unnamed[statement] = found
    assert unnamed == {}


def test_a_file_that_has_lost_a_byte_is_named(engine: Engine, tmp_path: Path) -> None:
    job_id = book_disturbed(engine, tmp_path)
    path = Path(read_book(engine, job_id).checkpoints[-1].uri)
    path.write_bytes(path.read_bytes()[:-1])
    (text,) = _texts(engine, job_id, {})
    assert text.startswith(f"{path} is not as booked")


def test_what_was_salvaged_lies_in_a_folder_of_its_own(engine: Engine, tmp_path: Path) -> None:
    job_id = book_disturbed(engine, tmp_path)
    book = read_book(engine, job_id)
    weights = Path(book.artifacts["weights.safetensors"].uri)
    own = weights.parents[1] / f"salvaged-{'5' * 32}"
    own.mkdir()
    weights.parent.rename(own / weights.parent.name)
    moved = own / weights.parent.name / weights.name
    with transaction(engine) as connection:
        connection.execute(update(artifacts).values(uri=str(moved)))
    texts = _texts(engine, job_id, {})
    # The checkpoints of that attempt went with it, and the book does not know.
    assert not any("in the wrong place" in text or str(moved) in text for text in texts)
    checkpoint = moved.with_name(Path(book.checkpoints[-1].uri).name)
    with transaction(engine) as connection:
        connection.execute(update(checkpoints).values(uri=str(checkpoint)))
    assert any("in the wrong place" in text for text in _texts(engine, job_id, {}))


def test_a_running_job_whose_lease_is_long_over_is_named(engine: Engine, tmp_path: Path) -> None:
    job_id = book_running(engine, tmp_path)
    _plant(engine, job_id, "UPDATE progress SET lease_until = clock_timestamp() - interval '9 s'")
    (text,) = _texts(engine, job_id, {})
    assert text.startswith("it is running, and its lease has been over for 9")


def test_a_trainer_that_outlives_its_attempt_is_named(engine: Engine, tmp_path: Path) -> None:
    job_id = book_disturbed(engine, tmp_path)
    with transaction(engine) as connection:
        connection.execute(update(attempts).where(attempts.c.number == 1).values(pid=os.getpid()))
    assert _texts(engine, job_id, {}) == []
    at_once = Bounds(overdue=1.0, outliving=0.0)
    (text,) = _texts(engine, job_id, {}, at_once)
    assert text.endswith(f"trainer {os.getpid()} runs on")


def test_a_running_job_must_be_its_twin_as_far_as_it_went(engine: Engine, tmp_path: Path) -> None:
    twin = read_book(engine, book_undisturbed(engine, tmp_path))
    job_id = book_running(engine, tmp_path)
    _plant(engine, job_id, "UPDATE iterations SET lr = 0.2 WHERE iteration = 12")
    *_, text = _texts(engine, job_id, {twin.job.spec_sha256: twin})
    assert text.startswith("from iteration 12 on (1 rows) lr is")
