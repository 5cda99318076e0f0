"""One-line messages for errors that a user can correct, and the command line of programs without a config."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from ..errors import UserError
from .console import plain
from .signals import ignore

PACKAGE = Path(__file__).parents[1]

EXPECTED: tuple[type[Exception], ...] = (UserError, OSError)
"""Errors that a user can correct, in the input or in files."""


def one_line(error: Exception, whole: bool = True) -> str:
    """Return the message of an error on one plain line, or the name of its type if the message is empty.

    Args:
        whole: Join all lines. Otherwise, use the first line that is not empty. Errors of torch may contain a C++ stack.
    """
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return plain(" ".join(lines if whole else lines[:1])) or type(error).__name__


def say(line: str) -> None:
    """Print a line of this program to standard error, in one write: ranks share the terminal."""
    sys.stderr.write(f"sparseift: {line}\n")
    sys.stderr.flush()


def refuse(message: str) -> NoReturn:
    """Raise a `UserError` that refers to --help."""
    raise UserError(f"{message}; see --help")


class Arguments(argparse.ArgumentParser):
    """A command line whose mistakes are reported in one line."""

    def error(self, message: str) -> NoReturn:
        refuse(message)


def _one_line_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if PACKAGE in Path(filename).parents:
        return f"sparseift: {message}\n"
    return _standard(message, category, filename, lineno, line)


_standard = warnings.formatwarning


@contextmanager
def one_line_errors(
    expected: tuple[type[Exception], ...] = EXPECTED, describe: Callable[[Exception], str] = one_line
) -> Iterator[None]:
    """End the program with a one-line message and exit code 2 after an error that the user can correct.

    Warnings of this package are printed as one line, too, without the place in the code.

    Args:
        expected: The types of these errors. Other errors keep their traceback.
        describe: Returns the message of an error.
    """
    warnings.formatwarning = _one_line_warning
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the encoding of the terminal may lack characters
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except expected as error:
        say(describe(error))
        sys.exit(2)
    except KeyboardInterrupt:
        ignore(signal.SIGINT)
        say("interrupted")
        sys.exit(130)
