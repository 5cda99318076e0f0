"""Downloads that fail in one line, and do not disturb each other."""

import fcntl
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from ...errors import UserError


def download_into(root: Path, what: str, fetch: Callable[[], object], instead: str) -> None:
    """Run `fetch`, in one process at a time: ranks and the jobs of a sweep ask for the same files at once. If it fails,
    UserError with where `what` is not, the reason, and what to do `instead`. Then no empty folder stays behind
    either."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone_in(root):
            fetch()
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
        with suppress(OSError):  # what did come is used by the next attempt
            for folder in made:
                folder.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(f"{what} is not in {root} and cannot be downloaded ({reason}): {instead}") from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
