"""Reads documents from text files and JSON lines, compressed or not."""

from __future__ import annotations

import glob
import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

from ...common.checks import require
from ...common.messages import one_line
from ...errors import UserError

KEY = "text"
"""The entry of a JSON line that has the document, as in the Pile."""


def files_of(option: str, globs: str | Sequence[str] | None) -> list[Path]:
    """Return the files that names or globs match, sorted.

    Args:
        option: The option that has the globs, as a dotted key of the config.

    Raises:
        UserError: A name or glob matches no file.
    """
    names = [globs] if isinstance(globs, str) else globs or []
    expected = "a file or glob, such as 'texts/**/*.txt', or a list of them"
    fits = isinstance(names, Sequence) and len(names) > 0 and all(isinstance(name, str) and name for name in names)
    require(fits, option, globs, expected)
    found: set[Path] = set()
    for name in names:
        matched = map(Path, glob.glob(os.path.expanduser(name), recursive=True))
        files = [path.resolve() for path in matched if path.is_file()]
        require(bool(files), option, name, "a file or glob that matches at least one file")
        found.update(files)
    return sorted(found)


def described(files: Iterable[Path]) -> list[list[Any]]:
    """Return the name, size and modification time of each file, by which a change is noticed."""
    return [[str(path), status.st_size, status.st_mtime_ns] for path in files for status in [path.stat()]]


def documents_in(path: Path, separator: str | None = None) -> Iterator[str]:
    """Yield the documents in a file.

    A file whose name ends in .jsonl has one document per line, in the entry "text". Any other file is UTF-8 text. Files
    that end in .gz or .zst are decompressed.

    Args:
        separator: Text between two documents of a text file; None if each file is one document.

    Raises:
        UserError: The file is damaged, or does not have this format.
    """
    try:
        with _opened(path) as file:
            if ".jsonl" in path.suffixes:
                yield from _of_lines(path, file)
            else:
                text = file.read()
                yield from text.split(separator) if separator else (text,)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is not UTF-8 text, or is damaged: {one_line(error)}") from error


def _of_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}, is not JSON: {one_line(error)}") from error
        if not isinstance(document, dict) or not isinstance(document.get(KEY), str):
            raise UserError(f"{path}, line {number}, has no {KEY!r}; expected an object with the text of a document")
        yield document[KEY]


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix == ".zst":
        with path.open("rb") as packed, _zstandard_reader(path, packed) as unpacked:
            yield TextIOWrapper(unpacked, encoding="utf-8", newline="\n")
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
            yield cast(IO[str], file)
    else:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield file


@contextmanager
def _zstandard_reader(path: Path, packed: IO[bytes]) -> Iterator[Any]:
    try:
        import zstandard
    except ImportError as error:
        needed = "the package zstandard, which is not installed: pip install 'sparseift[text]'"
        raise UserError(f"{path} needs {needed}") from error
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as unpacked:
            yield unpacked
    except zstandard.ZstdError as error:
        raise UserError(f"{path} is damaged: {one_line(error)}") from error
