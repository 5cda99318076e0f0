"""Locks between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Timeout", "locked"]

FOREVER = -1.0


@contextmanager
def locked(file: Path, timeout: float = FOREVER) -> Iterator[None]:
    """Hold the lock of a file until the context ends. When a process is killed, its locks become free.

    On file systems without locks the context begins at once.

    Args:
        file: Is created for the lock, and deleted with it.
        timeout: Seconds to wait for another process that holds the lock.

    Raises:
        Timeout: Another process still holds the lock.
    """
    lock = FileLock(
        file, timeout=timeout, fallback_to_soft=False
    )  # a soft lock would outlive a process on another node
    try:
        lock.acquire()
    except Timeout:
        raise
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows deletes no open file; filelock notices a lock on a deleted one
                file.unlink()
            lock.release()
