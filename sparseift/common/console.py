"""Progress bars, text from outside, and numbers with SI prefixes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.text import Text

Item = TypeVar("Item")


def watched() -> bool:
    """Whether standard output is a terminal, and this process is the first rank on its node."""
    return sys.stdout.isatty() and os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a bar with the elapsed time until the context ends."""
    if not watched():
        yield
        return
    from rich import get_console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=get_console(), transient=True) as progress:
        progress.add_task(text, total=None)
        yield


def one_by_one(items: Iterable[Item], text: str) -> Iterable[Item]:
    """Return the items, with a progress bar over their iteration."""
    if not watched():
        return items
    from rich.progress import track

    return track(items, text, transient=True)


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys, such as the beginning of escape sequences, or that change the order of text."""


def plain(text: str) -> str:
    """Return text of files and folders on one line, with control characters as Python's escapes."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def cell(text: str, style: str = "") -> Text:
    """Return plain text as a cell of a table of rich, which would read brackets as styles."""
    from rich.text import Text

    return Text(plain(text), style)


SI_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def si(count: float) -> str:
    """Format a number with four digits and an SI prefix: 1115226800 -> 1.115 G."""
    for size, prefix in SI_PREFIXES:
        if count >= size:
            return f"{count / size:.4g} {prefix}"
    return f"{count:.4g}"
