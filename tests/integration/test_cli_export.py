"""`gradbook export` against a real API: whole files, in every format, or none."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from foundation.ids import new_id
from foundation.settings import ApiSettings, Settings
from tests.processes import ROOT, environment_of
from tests.serving import serving
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

Command = Callable[..., "subprocess.CompletedProcess[bytes]"]
LOSSES = [2.5, float("nan"), float("inf"), 0.1]


def runner(settings: Settings, api: httpx.Client) -> Command:
    environment = environment_of(settings, {"GRADBOOK_URL": str(api.base_url).rstrip("/")})

    def run(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "cli.main", "export", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=90,
            check=False,
        )

    return run


@pytest.fixture
def export(settings: Settings, api: httpx.Client) -> Command:
    return runner(settings, api)


@pytest.fixture
def jobs(engine: Engine) -> list[WrittenJob]:
    made = [write_job(engine), write_job(engine)]
    for job in made:
        job.write_rows(make_rows(LOSSES))
    return made


def losses_in(file: Path) -> list[str]:
    if file.suffix == ".parquet":
        values = pq.read_table(file).column("loss").to_pylist()
    elif file.suffix == ".arrow":
        values = pa.ipc.open_stream(file).read_all().column("loss").to_pylist()
    elif file.suffix == ".csv":
        values = [row["loss"] for row in csv.DictReader(io.StringIO(file.read_text()))]
    else:
        values = [json.loads(line)["loss"] for line in file.read_text().splitlines()]
    return [str(float(value)) for value in values]


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "jsonl", "arrow", "parquet"])
def test_a_files_name_says_its_format(
    export: Command, jobs: list[WrittenJob], tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"rows.{suffix}"
    done = export(*(str(job.id) for job in jobs), "--output", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert losses_in(file) == ["2.5", "nan", "inf", "0.1"] * 2
    assert list(tmp_path.iterdir()) == [file]


def test_standard_output_takes_the_rows(export: Command, jobs: list[WrittenJob]) -> None:
    one = str(jobs[0].id)
    done = export(one, one, "--fields", "loss", "--from", "2", "--to", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"job,iteration,loss\n{one},2,NaN\n{one},3,Infinity\n"
    table = pa.ipc.open_stream(export(one, "--format", "arrow").stdout).read_all()
    assert table.num_rows == len(LOSSES)


def test_what_is_refused_leaves_the_file_as_it_was(
    export: Command, jobs: list[WrittenJob], tmp_path: Path
) -> None:
    file, missing = tmp_path / "rows.csv", str(new_id())
    file.write_text("what was there")
    for arguments, told in (
        ((str(jobs[0].id), missing), missing),
        ((str(jobs[0].id), "--fields", "los"), "did you mean loss?"),
        (("no-id",), "is no job's id"),
    ):
        done = export(*arguments, "-o", str(file))
        assert done.returncode == 1
        assert told in done.stderr.decode()
        assert b"Traceback" not in done.stderr
    assert [each.read_text() for each in tmp_path.iterdir()] == ["what was there"]


def test_a_place_that_cannot_be_written_is_told(
    export: Command, jobs: list[WrittenJob], tmp_path: Path
) -> None:
    done = export(str(jobs[0].id), "-o", str(tmp_path / "none" / "rows.csv"))
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_export_that_breaks_off_leaves_no_file(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    long = write_job(engine)
    long.write_many(1_000_000)
    hurried = settings.model_copy(update={"api": ApiSettings(export_seconds=0.5)})
    with serving(hurried) as client:
        done = runner(settings, client)(str(long.id), "-o", str(tmp_path / "rows.ndjson"))
    assert done.returncode == 1
    assert b"gradbook: " in done.stderr
    assert b"Traceback" not in done.stderr
    assert list(tmp_path.glob("*rows*")) == []
