"""Downloads of data sets."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from ..common.files import replacing
from ..common.locks import locked
from ..common.messages import one_line
from ..errors import UserError

TIMEOUT = 30.0
"""Seconds without an answer after which a download fails."""


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
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError, zipfile.BadZipFile) as error:
        with suppress(OSError):  # the next attempt uses the files that did arrive
            if made:
                lock.unlink()
            for folder in made:
                folder.rmdir()
        raise UserError(f"{what} is not in {root} and cannot be downloaded ({one_line(error)}); {instead}") from error


def fetched(url: str, path: Path) -> None:
    """Download a file, unless it is there.

    Raises:
        OSError: The download has failed.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with urlopen(url, timeout=TIMEOUT) as answer, replacing(path) as partial, partial.open("wb") as file:
        shutil.copyfileobj(answer, file)
        expected = answer.headers.get("Content-Length")
        if expected is not None and file.tell() != int(expected):
            raise OSError(f"{url} ended after {file.tell()} of {expected} bytes")
