"""Locks between processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["Timeout", "locked"]


@contextmanager
def locked(file: Path, timeout: float = -1) -> Iterator[None]:
    """Lock a file until the context ends or the process is killed.

    The file is created if necessary, and stays: on a network file system, a process that waits for a deleted file could
    enter beside one that locks a new file of the same name. Whoever holds the lock may remove the file together with
    its folder. A process that waits for it then starts again. Without support for locks, the context begins at once.

    Args:
        timeout: Seconds to wait for another process that holds the lock; negative: no limit.

    Raises:
        Timeout: Another process still holds the lock.
    """
    lock = FileLock(file, timeout=timeout, fallback_to_soft=False)  # a soft lock outlives a killed process
    try:
        while not _acquired(lock, file):
            file.parent.mkdir(parents=True, exist_ok=True)
    except Timeout:
        raise
    except (OSError, NotImplementedError):  # no locks on this file system or platform, or a read-only folder
        pass
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: BaseFileLock, file: Path) -> bool:
    """Acquire the lock. False if its holder has removed the file."""
    try:
        lock.acquire()
    except FileNotFoundError:
        return False
    if not file.exists():
        lock.release()
    return lock.is_locked
