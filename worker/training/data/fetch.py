"""Official files: looked for in the data folder, else downloaded and checked by checksum."""

from pathlib import Path

import pooch

from worker.training.data.raw import Alive
from worker.training.errors import DatasetMissing


class _Pulse:
    """What pooch takes for a progress bar: each chunk that arrives shows that we live."""

    total = 0

    def __init__(self, alive: Alive) -> None:
        self.alive = alive

    def update(self, _bytes: int) -> None:
        self.alive()

    def reset(self) -> None:
        return

    def close(self) -> None:
        return


def fetch(folder: Path, file: str, url: str, md5: str, alive: Alive) -> Path:
    """Return the path of `file` in `folder`, downloaded there from `url` if need be.

    Only what is downloaded is held against the published checksum: a file that somebody put
    into the folder is theirs, and its parser refuses what does not fit.

    Raises:
        DatasetMissing: it is not there and cannot be downloaded, or not whole.

    """
    path = folder / file
    if path.is_file():
        return path
    downloader = pooch.HTTPDownloader(progressbar=_Pulse(alive), timeout=20)
    alive()
    try:
        found = pooch.retrieve(
            url, known_hash=f"md5:{md5}", fname=file, path=folder, downloader=downloader
        )
    except (OSError, ValueError) as failure:
        # requests' errors are OSErrors; pooch's word for a wrong checksum is ValueError.
        raise DatasetMissing(file, folder, _first_line(failure)) from failure
    return Path(found)


def _first_line(failure: Exception) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0][:300]
