"""The exception for what a user can put right, and the one that ends a run on request."""

from __future__ import annotations

import signal
from collections.abc import Iterator

LEAVE = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a process to leave, besides Ctrl-C: a person, or SLURM before it takes a node or before the time limit
(submitit: USR2)."""


class UserError(ValueError):
    """A mistake in the input, told in one line: what was wrong and what would be right.

    The command line prints the message alone and exits with code 2; a library user sees an ordinary ValueError.
    """


class Noted(UserError):
    """Why a process of its own has failed, which is in the error.txt of its run already."""


class Stopped(SystemExit):
    """The end of a process that a signal has asked to leave; its code is 128 and the signal's number, as in a shell."""


def first_line(error: Exception) -> str:
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


class BudgetError(UserError):
    """No density of the masked layers meets the budget."""
