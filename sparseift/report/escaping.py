"""Escapes text of run folders for each kind of output. The terminal has `common.console.plain`."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

from ..common.console import plain

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
MARKDOWN = {"<": "&lt;", "&": "&amp;"}
FORMULA = ("=", "+", "-", "@")
LONGEST_LABEL = 100  # characters of a text in a figure


def html(value: Any) -> Any:
    """Return a value without control characters. The template escapes it."""
    return value if isinstance(value, Markup | int | float) or not value else plain(str(value))


def html_code(text: str) -> Markup:
    """Return lines of code."""
    return escape("\n".join(map(plain, text.split("\n"))))


def markdown(value: Any) -> Any:
    """Return text for a line or a cell of Markdown, in which no character has a meaning."""
    if isinstance(value, Markup) or not value:
        return value
    text = re.sub(r"[\\`*<&|]|~(?=~)|\](?=[(\[])|(?<!\w)_|_(?!\w)", _markdown_character, plain(str(value)))
    return Markup(text)


def _markdown_character(found: re.Match[str]) -> str:
    return MARKDOWN.get(found[0], "\\" + found[0])


def markdown_code(text: str, language: str = "bash") -> Markup:
    """Return a block of code. Its fence is longer than any row of backticks in the code."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup("\n".join([f"{fence}{language}", *map(plain, text.split("\n")), fence]))


def latex(value: str) -> str:
    """Return text for LaTeX, with signs of the mathematics."""
    text = re.sub(r"[\\{}$&#%_~^]", lambda found: LATEX.get(found[0], "\\" + found[0]), plain(value))
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text).replace("±", r"$\pm$").replace("↓", r"$\downarrow$")


def csv(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def figure(value: str) -> str:
    """Return a label that fits a figure. matplotlib leaves labels out that begin with an underscore."""
    text = plain(value)
    text = text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"
    return f" {text}" if text.startswith("_") else text
