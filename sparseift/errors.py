"""The one exception for what a user can put right."""


class UserError(ValueError):
    """A mistake in the input, told in one line: what was wrong and what would be right.

    The command line prints the message alone and exits with code 2; a library user sees an ordinary ValueError.
    """
