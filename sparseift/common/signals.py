"""Handlers of the signals that ask a process to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

LEAVE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
"""Signals, besides SIGINT (Ctrl-C), that ask a process to stop. SLURM sends them before preemption and before the time
limit. Windows has only SIGTERM."""

STOP = (*LEAVE, signal.SIGINT)

Handler = Callable[[int, "FrameType | None"], Any]


def handle(handler: Handler, numbers: Iterable[int] = STOP) -> dict[int, Any]:
    """Install a handler for each signal, except signals that this process already ignores.

    Python allows this in the main thread only. In others, no handler is installed.

    Returns:
        The previous handlers by signal, for `restore`.
    """
    if not _in_main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}


def restore(handlers: dict[int, Any]) -> None:
    """Reinstall the handlers that `handle` replaced."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """Reinstall the current handlers when the context ends."""
    previous = {number: signal.getsignal(number) for number in STOP} if _in_main_thread() else {}
    try:
        yield
    finally:
        restore({number: handler for number, handler in previous.items() if handler is not None})  # None: not Python's


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def handled(handler: Handler, numbers: Iterable[int] = STOP) -> Iterator[None]:
    """Handle the signals until the context ends."""
    previous = handle(handler, numbers)
    try:
        yield
    finally:
        restore(previous)


@contextmanager
def noticed(numbers: Iterable[int] = LEAVE) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether one of the signals has arrived.

    Other threads may call it. Python runs handlers in the main thread, which may wait for another process.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    arrived: set[int] = set()

    def tell() -> bool:
        with suppress(BlockingIOError):  # nothing has arrived
            arrived.update(os.read(reader, 1024))
        return not arrived.isdisjoint(numbers)

    try:
        yield tell
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writer)
        os.close(reader)


def ignore(*numbers: int) -> None:
    """Ignore the signals from now on, because terminals, parent processes and SLURM may send them repeatedly."""
    if _in_main_thread():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def name_of(number: int) -> str:
    """The name of a signal, such as SIGTERM."""
    return signal.Signals(number).name
