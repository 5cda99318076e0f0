"""Exceptions: mistakes that a user can correct, and the end of a process on request."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in the input, in one line: what was wrong and what was expected.

    The command line prints the message alone and exits with code 2. A user of the library sees a ValueError.
    """


class Noted(UserError):
    """The failure of a child process, which has written the reason to error.txt in its run folder."""


class Stopped(SystemExit):
    """The end of a process after a signal. The exit code is 128 plus the number of the signal, as in a shell."""


class BudgetError(UserError):
    """No density of the masked layers meets the budget."""
