"""Has the chaos tests' faults strike in every process that is started with GRADBOOK_CHAOS.

Python imports a module of this name as it starts. The folder that the variable names holds what
is armed: `armed/<moment>`, whose text is the action. The first process to come to the moment
takes the file by renaming it to `hits/<moment>.<pid>.<nanoseconds>`, which only one can do, and
acts. Trainers are forks of a process that was started this way.
"""

import os
import signal
from pathlib import Path

VARIABLE = "GRADBOOK_CHAOS"


def install_in(folder: Path) -> None:
    import time  # noqa: PLC0415 - every Python process of the stack comes through here

    from foundation.faults import ArchiveMoment, Moment, install  # noqa: PLC0415 - as above

    armed = {moment: str(folder / "armed" / moment) for moment in (*Moment, *ArchiveMoment)}
    hits = folder / "hits"

    def strike_if_armed(moment: Moment | ArchiveMoment) -> None:
        taken = hits / f"{moment}.{os.getpid()}.{time.time_ns()}"
        try:
            os.rename(armed[moment], taken)  # noqa: PTH104 - one system call where nothing is armed
        except FileNotFoundError:
            return
        act(taken.read_text())

    install(strike_if_armed)


def act(action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "crash":
            end_postgres(Path(os.environ["GRADBOOK_HOME"]) / "postgres" / "process.json")
        case "lose":
            import psycopg  # noqa: PLC0415 - most processes never need it here

            raise psycopg.OperationalError("chaos: the answer to the commit is lost")
        case _:
            raise ValueError(action)


def end_postgres(record: Path) -> None:
    """Have PostgreSQL end at once, without a word to its disk, and return when it has."""
    import json  # noqa: PLC0415 - most processes never need it here
    import time  # noqa: PLC0415 - as above

    pid = json.loads(record.read_text())["pid"]
    try:
        os.kill(pid, signal.SIGQUIT)
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)
    except ProcessLookupError:
        return


if VARIABLE in os.environ:
    install_in(Path(os.environ[VARIABLE]))
