"""Exceptions: mistakes that a user can correct, and the end of a process on request."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in the input, with a one-line message.

    The programs print only the message and exit with code 2.
    """


class Damaged(UserError):
    """A file does not hold what was written."""


class Noted(UserError):
    """The failure of a child process that has already written error.txt."""


class Stopped(SystemExit):
    """The end of a process by a signal. The exit code is 128 plus the number of the signal, as in a shell."""


class BudgetError(UserError):
    """No density of the masked layers meets the budget."""
