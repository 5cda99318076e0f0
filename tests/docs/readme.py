"""Parses README.md and the pages of docs/: code blocks with their file names, tables and inline code.

Pages with tests of their own, and those that scripts write, are left out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OTHERS = {"architecture.md", "bench.md", "cluster.md", "dropin.md", "dropin_language.md", "growth.md", "transfer.md"}
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.glob("*.md") if path.name not in OTHERS)]
FENCE = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"`([\w./]+\.(?:py|yaml))`[^`]*$")


@dataclass(frozen=True)
class Block:
    """A code block.

    page: file that has the block.
    file: name of the file, if the line before the block ends with one.
    """

    page: Path
    language: str
    code: str
    file: str | None


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, found["language"], found["code"], name[1] if (name := FILE_NAME.search(found["before"])) else None)
        for found in FENCE.finditer(page.read_text())
    ]


TEXT = "\n".join(page.read_text() for page in PAGES)
BLOCKS = [block for page in PAGES for block in blocks(page)]
PROSE = FENCE.sub("", TEXT)
LINES = [line for block in BLOCKS if block.language == "bash" for line in block.code.splitlines()]


def as_module(words: list[str]) -> list[str]:
    """`sparseift train ...` as `python -m sparseift.train ...`."""
    verb = words[0] == "sparseift" and not words[1].startswith("-")
    return ["python", "-m", f"sparseift.{words[1]}", *words[2:]] if verb else words


SPLIT = [words for line in LINES if (words := shlex.split(line, comments=True))]
COMMANDS = [list(words) for words in dict.fromkeys(tuple(as_module(words)) for words in SPLIT)]


def write_files(folder: Path) -> None:
    """Write the files of the worked examples to `folder`."""
    for block in BLOCKS:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code)


def table(header: str) -> dict[str, list[str]]:
    """Rows of the first table with this first header cell, keyed by their first cell, without backticks."""
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
