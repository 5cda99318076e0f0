"""Downloads that fail in one line."""

import tarfile
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from sparseift.errors import UserError


def download_into(root: Path, what: str, fetch: Callable[[], object], instead: str) -> None:
    """Run `fetch`; if it fails, UserError with where `what` is not, the reason, and what to do `instead`. Then no empty
    folder stays behind either."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        fetch()
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
        with suppress(OSError):  # what did come is used by the next attempt
            for folder in made:
                folder.rmdir()
        reason = " ".join(str(error).split())
        raise UserError(f"{what} is not in {root} and cannot be downloaded ({reason}): {instead}") from error
