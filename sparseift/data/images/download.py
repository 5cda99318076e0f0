"""Downloads by one process at a time, with errors in one line."""

import tarfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from ...common.locks import locked
from ...common.messages import one_line
from ...errors import UserError


def download_into(root: Path, what: str, fetch: Callable[[], object], instead: str) -> None:
    """Run `fetch` while no other process does: ranks and jobs of a sweep ask for the same files at once.

    Args:
        root: The folder that `fetch` downloads into.
        what: The name of the data set.
        instead: What the user can do if the download fails.

    Raises:
        UserError: The download failed. Folders that were made for it are removed if they are empty.
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
