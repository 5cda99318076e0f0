"""Parses README.md and the pages of docs/: code blocks with their file names, tables and inline code.

Pages with tests of their own, and those that scripts write, are left out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from sparseift.app.overrides import config_folder, plain_choice

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OTHERS = {
    *("architecture.md", "bench.md", "cluster.md", "dropin.md", "dropin_language.md", "growth.md"),
    *("notebooks.md", "publish.md", "transfer.md"),
}
EVERY_PAGE = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PAGES = [page for page in EVERY_PAGE if page.name not in OTHERS]
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


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row[1:-1].split("|")] if row.startswith("|") else []


def table(page: str, *header: str) -> dict[str, list[str]]:
    """Rows of the first table of a page with these first header cells, keyed by their first cell, without backticks."""
    lines = (DOCS / page).read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if cells(line)[: len(header)] == list(header))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *others = (cell.replace("`", "") for cell in cells(line))
        rows[first] = others
    return rows


def composed(arguments: list[str], *more: str) -> DictConfig:
    """The config of the first job of a command line."""
    overrides = [plain_choice(argument) for argument in arguments if "=" in argument or argument.startswith("~")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    first = [
        f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        if override.is_sweep_override()
        else override.input_line
        for override in parsed
    ]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [*first, *more], return_hydra_config=True)


def inline_code() -> set[str]:
    """All words in backticks in the prose."""
    return {word for span in re.findall(r"`([^`\n]+)`", PROSE) for word in span.split()}
