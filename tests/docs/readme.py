"""Parses README.md: code blocks with their file names, tables and inline code."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
FENCE = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"`([\w./]+\.(?:py|yaml))`[^`]*$")


@dataclass(frozen=True)
class Block:
    """A code block.

    file: name of the file, if the line before the block ends with one.
    """

    language: str
    code: str
    file: str | None


BLOCKS = [
    Block(found["language"], found["code"], name[1] if (name := FILE_NAME.search(found["before"])) else None)
    for found in FENCE.finditer(TEXT)
]
PROSE = FENCE.sub("", TEXT)


def as_module(words: list[str]) -> list[str]:
    """`sparseift train ...` as `python -m sparseift.train ...`."""
    verb = words[0] == "sparseift" and not words[1].startswith("-")
    return ["python", "-m", f"sparseift.{words[1]}", *words[2:]] if verb else words


COMMANDS = [
    as_module(words) for block in BLOCKS if block.language == "bash" for line in block.code.splitlines()
    if (words := shlex.split(line, comments=True))
]  # fmt: skip


def write_files(folder: Path) -> None:
    """Write the files of the worked examples to `folder`."""
    for block in BLOCKS:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)


def table(header: str) -> dict[str, list[str]]:
    """Rows of the table with this first header cell, keyed by their first cell, without backticks."""
    lines = TEXT.splitlines()
    start = next(index for index, line in enumerate(lines) if re.match(rf"\|\s*{header}\s*\|", line))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *others = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        rows[first] = others
    return rows


def inline_code() -> set[str]:
    """All words in backticks in the prose."""
    return {word for span in re.findall(r"`([^`\n]+)`", PROSE) for word in span.split()}
