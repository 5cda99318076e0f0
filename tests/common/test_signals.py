"""Handlers of signals."""

import os
import signal

from sparseift.common.signals import STOP, handle, handled, restore


def test_handlers_are_restored() -> None:
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP}
    with handled(lambda number, frame: received.append(number)):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGUSR1, signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in STOP} == before


def test_ignored_signals_stay_ignored() -> None:
    """A shell has background jobs ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        previous = handle(lambda number, frame: None)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN and signal.SIGINT not in previous
        restore(previous)
    finally:
        signal.signal(signal.SIGINT, before)
