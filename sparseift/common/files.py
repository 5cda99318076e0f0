"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, suffix: str = ".partial") -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place in the end: a kill or a full disk leaves the old one as
    it was. suffix: of that file, in place of its own."""
    partial = path.with_suffix(suffix)
    try:
        yield partial
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
