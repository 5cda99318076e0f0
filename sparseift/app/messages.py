"""Errors as one line."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from io import TextIOWrapper
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from .help import known_keys

EXPECTED = (UserError, HydraException, OmegaConfBaseException, OSError)
"""What a person can put right: the input, or the machine's files."""


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; see --help")


class Arguments(argparse.ArgumentParser):
    """The command line of a program without a config, whose mistakes are told in one line like all others."""

    def error(self, message: str) -> NoReturn:
        _refuse(message)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line and exit code 2 where the user can put things right."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without some sign is no reason to fail
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EXPECTED as error:
        print(f"sparseift: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the same one may come twice: from the terminal and a parent
        print("sparseift: interrupted", file=sys.stderr)
        sys.exit(130)


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split("Config search path:")[0].split())
    text = text.removeprefix("UserError raised while resolving interpolation: ")  # ours, by way of OmegaConf
    unknown = re.match(r"Could not override '(\S+)'\.", text)
    if not unknown:
        return text
    inside = re.search(r"full_key: (\S+)", str(error.__cause__))
    key = inside[1] if inside else unknown[1]
    if key != unknown[1]:
        node = unknown[1]
        return f"there is no option '{key}'; to put something else in the place of {node}: '~{node}' '+{node}={{...}}'"
    known = set(known_keys()) - {key}  # an option of the default choices may be none of these
    near = get_close_matches(key, known, n=3, cutoff=0.6)
    return f"there is no option '{key}'" + (f"; did you mean {' or '.join(near)}?" if near else "; see --cfg job")
