"""Downloads of data sets."""

import tarfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from ...common.locks import locked
from ...common.messages import one_line
from ...errors import UserError


def download_into(root: Path, what: str, fetch: Callable[[], object], instead: str) -> None:
    """Run `fetch`, in one process at a time.

    Args:
        root: Folder into which `fetch` downloads.
        what: Name of the data set.
        instead: What the user can do if the download fails.

    Raises:
        UserError: The download has failed.
    """
    lock, made = root / ".download.lock", [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(lock):
            fetch()
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
        with suppress(OSError):  # the next attempt uses the files that did arrive
            if made:
                lock.unlink()
            for folder in made:
                folder.rmdir()
        raise UserError(f"{what} is not in {root} and cannot be downloaded ({one_line(error)}); {instead}") from error
