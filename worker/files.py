"""Files that no row names any more."""

import fsspec

from foundation.logging import get_logger

log = get_logger("worker")


def remove(uri: str, *, recursive: bool = False) -> None:
    """Delete a file, or a folder, local or on an object store; what is gone already is fine.

    A failure costs room, not truth: the book doesn't name it, so it is logged and left.
    """
    try:
        store, path = fsspec.core.url_to_fs(uri)
        if recursive:
            store.rm(path, recursive=True)
        else:
            store.rm_file(path)
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 - every store has errors of its own
        log.warning("file.not_removed", uri=uri, reason=str(error))
