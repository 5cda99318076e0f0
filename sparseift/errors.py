"""The exception for what a user can put right, and the one that ends a run on request."""


class UserError(ValueError):
    """A mistake in the input, told in one line: what was wrong and what would be right.

    The command line prints the message alone and exits with code 2; a library user sees an ordinary ValueError.
    """


class Stopped(SystemExit):
    """A signal has asked a run to leave, and the run has saved itself. Its code is what a shell calls such an end."""

    def __init__(self, number: int, line: str):
        super().__init__(128 + number)
        self.line = line
