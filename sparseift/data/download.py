"""Downloads that fail in one line."""

import tarfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from sparseift.errors import UserError


def download_into(root: Path, what: str, fetch: Callable[[], object], instead: str) -> None:
    """Run `fetch`; if it fails, UserError with where `what` is not, the reason, and what to do `instead`."""
    try:
        fetch()
    except (OSError, EOFError, RuntimeError, HTTPException, tarfile.TarError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{what} is not in {root} and cannot be downloaded ({reason}): {instead}") from error
