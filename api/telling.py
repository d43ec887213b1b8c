"""One look at the database, and what each viewer is told of it: in bytes, made once for all."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from api.frames import COMMENT, event, frame, id_alone, job_id, project_id, text_of
from models.domain.lifecycle import FINISHED
from services.archive import Archives
from services.database import limit_statements
from services.following import Followed, Mark, News, read_news
from services.points import SERIES, Points
from services.project_events import Happened, Point, read_happened
from services.standing import Stand, Standing, stands


class Project(NamedTuple):
    """A project that is followed; None: all of them."""

    name: str | None


Topic = UUID | Project


class JobSeen(NamedTuple):
    """What a viewer of a job was told so far.

    Args:
        topic: the job.
        mark: how far it was followed.
        progress: what was told last of it; it is told again when it is another.

    """

    topic: UUID
    mark: Mark
    progress: bytes = b""


class ProjectSeen(NamedTuple):
    """What a viewer of a project was told so far: everything up to the point."""

    topic: Project
    point: Point


Seen = JobSeen | ProjectSeen


def heartbeat(seen: Seen) -> bytes:
    """Write what shows that the stream lives. A project's says how far it is: it may be quiet."""
    if isinstance(seen, ProjectSeen):
        return COMMENT + id_alone(project_id(seen.topic.name, seen.point))
    return COMMENT


@dataclass(frozen=True, slots=True)
class Telling:
    """What those are told who have seen the same.

    Attributes:
        chunk: frames; empty where there is nothing new.
        seen: what they have seen then.
        whole: there is no more to tell now.
        in_file: what is left of it lies in a file.
        held_back: there will be more soon, without a hint.
        over: it is the stream's end.

    """

    chunk: bytes
    seen: Seen
    whole: bool = True
    in_file: bool = False
    held_back: bool = False
    over: bool = False


class Look(NamedTuple):
    """What a look has found: where the jobs stand that exist, and what is told to whom."""

    standings: Mapping[UUID, Standing]
    tellings: Mapping[Seen, Telling]


def look(
    connection: Connection,
    jobs: Collection[UUID],
    asked: Collection[Seen],
    archives: Archives,
    *,
    files: bool,
    statement_seconds: float | None = None,
) -> Look:
    """Look at all of it at once, in a snapshot.

    Args:
        connection: the snapshot.
        jobs: whose standing somebody waits for.
        asked: what viewers have seen.
        archives: where the rows of archived jobs are.
        files: whether to read them there.
        statement_seconds: how long each statement may take, where that is less than elsewhere.

    """
    if statement_seconds is not None:
        limit_statements(connection, statement_seconds)
    followed = [seen for seen in asked if isinstance(seen, JobSeen)]
    found = stands(connection, list({*jobs, *(seen.topic for seen in followed)}))
    tellings: dict[Seen, Telling] = dict(
        _of_jobs(connection, followed, found, archives, files=files)
    )
    tellings.update(_of_projects(connection, asked))
    return Look({job: stand.standing for job, stand in found.items()}, tellings)


def bye(reason: str) -> bytes:
    """Write a stream's last frame: it is `finished`, `deleted`, or the process is `leaving`.

    It has no id: a client that comes back goes on behind what it has seen before it.
    """
    return b"event: bye\ndata: %b\n\n" % event("bye", {"reason": reason})


def _of_jobs(
    connection: Connection,
    followed: Collection[JobSeen],
    found: Mapping[UUID, Stand],
    archives: Archives,
    *,
    files: bool,
) -> Iterator[tuple[Seen, Telling]]:
    here = [seen for seen in followed if seen.topic in found]
    marks = [Followed(found[seen.topic], seen.mark) for seen in here]
    news = read_news(connection, marks, archives, files=files)
    for seen, new in zip(here, news, strict=True):
        yield seen, _tell_job(found[seen.topic], seen, new)
    for seen in followed:
        if seen.topic not in found:
            yield seen, Telling(bye("deleted"), seen, over=True)


def _tell_job(stand: Stand, seen: JobSeen, news: News) -> Telling:
    """What has happened first: where that is a rewind, points from before it are gone."""
    mark, frames = seen.mark, []
    for happened in news.events:
        mark = mark.after(happened)
        frames.append(frame(happened.type, text_of(happened), job_id(stand.job_id, mark)))
    if news.points is not None:
        mark = mark._replace(iteration=news.points.last)
        data = event("points", _points(news.points, mark), at=stand.at, attempt=stand.attempt)
        frames.append(frame("points", data, job_id(stand.job_id, mark)))
    for line in news.lines:
        mark = mark._replace(line=line.line)
        data = event("log", line, at=line.at, attempt=line.attempt)
        frames.append(frame("log", data, job_id(stand.job_id, mark)))
    seen = seen._replace(mark=mark)
    if not news.whole:
        return Telling(b"".join(frames), seen, whole=False, in_file=news.in_file)
    progress = {"progress": stand.progress, "latest": stand.latest}
    if seen.progress != text_of(progress):
        seen = seen._replace(progress=text_of(progress))
        data = event("progress", progress, at=stand.at, attempt=stand.attempt)
        frames.append(frame("progress", data, job_id(stand.job_id, mark)))
    over = stand.standing.state in FINISHED
    if over:
        frames.append(bye("finished"))
    return Telling(b"".join(frames), seen, over=over)


def _points(points: Points, mark: Mark) -> dict[str, Any]:
    return {
        "series": SERIES,
        "rewinds": mark.rewinds,
        "from": points.first,
        "to": points.last,
        "bucket": points.bucket,
        "rows": sum(points.count),
        "iteration": points.iteration,
        "count": points.count,
        "non_finite": points.non_finite,
        "min": points.min,
        "mean": points.mean,
        "max": points.max,
    }


def _of_projects(connection: Connection, asked: Collection[Seen]) -> Iterator[tuple[Seen, Telling]]:
    followed = [seen for seen in asked if isinstance(seen, ProjectSeen)]
    if not followed:
        return
    happened = read_happened(connection, [(seen.topic.name, seen.point) for seen in followed])
    for seen, new in zip(followed, happened, strict=True):
        yield seen, _tell_project(seen, new)


def _tell_project(seen: ProjectSeen, new: Happened) -> Telling:
    frames = [
        frame(happened.type, text_of(happened), project_id(seen.topic.name, point))
        for happened, point in new.events
    ]
    return Telling(
        b"".join(frames),
        seen._replace(point=new.point),
        whole=new.whole,
        held_back=new.held_back,
    )
