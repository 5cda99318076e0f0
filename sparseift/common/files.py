"""Atomic writes of files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: a kill or a full disk leaves the old file intact.

    Yields:
        A path to write to: `path` with another suffix.
    """
    partial = path.with_suffix(".partial")
    try:
        yield partial
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Make a new folder whole or not at all.

    Yields:
        A folder to write to, which gets its name when the context ends.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir()
    try:
        yield partial
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
