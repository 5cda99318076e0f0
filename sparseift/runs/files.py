"""Reads files of run folders, which may be damaged, or made by someone else."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ..common.extras import without_suite
from ..errors import Damaged, UserError

MIB = 2**20
LARGEST_YAML = MIB // 4  # bytes
LARGEST_JSON = 4 * MIB
LARGEST_TABLE = 32 * MIB
MOST_CELLS = 4_000_000  # of a table; an empty row counts, too
LONGEST_NUMBER = 4300  # characters; Python has the same limit, but not for all notations of YAML
LONGEST_END = 2**16  # bytes of a text of which only the end is read
DEEPEST = 64
"""The largest number of lists and mappings inside each other."""


def present(path: Path) -> bool:
    """Whether there is a file of this name, readable or not."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def files_of(run: Path, preprocessing: Mapping[str, Any] | None) -> list[str]:
    """Return the names of the files in a run folder that its preprocessing reads, such as a tokenizer.

    Args:
        preprocessing: The entry of results.json.
    """
    values = [value for value in (preprocessing or {}).values() if isinstance(value, str)]
    return [value for value in values if value == Path(value).name and present(run / value)]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UserError: The file cannot be read or is too large. The other functions raise the same exceptions.
        Damaged: The file is damaged.
    """
    return _parsed(path, LARGEST_JSON, lambda text: _plain(json.loads(text)))


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file without aliases."""
    return _parsed(path, LARGEST_YAML, lambda text: _plain(_yaml(text)))


def read_table(path: Path) -> list[dict[str, float]]:
    """Return the rows of a CSV file of numbers, without empty cells."""
    return _parsed(path, LARGEST_TABLE, _numbers)


def read_end(path: Path) -> str:
    """Return the last `LONGEST_END` bytes of a text file."""
    return _read(path, LONGEST_END, end=True).decode("utf-8", errors="replace")


def _parsed(path: Path, largest: int, parse: Callable[[str], Any]) -> Any:
    content = _read(path, largest)
    try:
        return parse(content.decode("utf-8"))
    except RecursionError:
        reason = _TOO_DEEP
    except UserError:  # a parser is not installed
        raise
    except (ValueError, csv.Error) as error:  # ValueError: not UTF-8, an impossible date and others
        reason = " ".join(str(error).split())
    raise Damaged(f"{path.name} is damaged: {reason}")


def _read(path: Path, largest: int, end: bool = False) -> bytes:
    """Read a regular file, at most `largest` bytes of it. Opening a pipe or a device must not wait for it.

    Args:
        end: Read the end of a larger file. Otherwise, refuse it.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{path.name} is not a regular file")
            if end and status.st_size > largest:
                file.seek(-largest, os.SEEK_END)
            content = file.read(largest + 1)
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > largest and not end:
        raise UserError(f"{path.name} has more than {largest:,} bytes")
    return content


_TOO_DEEP = f"more than {DEEPEST} lists and mappings inside each other"


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value of lists, mappings, strings and numbers, with strings as keys, or raise ValueError."""
    if isinstance(value, dict | list) and depth == DEEPEST:
        raise ValueError(_TOO_DEEP)
    if isinstance(value, dict):
        return {_plain_key(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    return _plain_scalar(value)


def _plain_key(key: Any) -> str:
    return str(_plain_scalar(key))


def _plain_scalar(value: Any) -> Any:
    if isinstance(value, str):
        value.encode()  # there is no text with lone surrogates
    elif isinstance(value, int):
        str(value)  # which needs fewer than LONGEST_NUMBER digits
    elif not isinstance(value, float | None):
        raise ValueError(f"a value of the type {type(value).__name__}")
    return value


def _yaml(text: str) -> Any:
    """Parse YAML without aliases. Hydra does not write them, and a few can stand for any number of values."""
    try:
        import yaml
    except ImportError as error:
        raise without_suite("to read a run folder, sparseift", "pyyaml") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the fast one may not be installed
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(_TOO_DEEP)
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has aliases")
            scalar = getattr(event, "value", "")
            if len(scalar) > LONGEST_NUMBER and scalar[0] in "+-.0123456789":
                raise ValueError(f"a number of more than {LONGEST_NUMBER:,} characters")
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(error) from error


def _numbers(text: str) -> list[dict[str, float]]:
    records = csv.reader(StringIO(text, newline=""))
    columns = next(records, [])
    rows, cells = [], 0
    for record in records:
        row = {key: float(cell) for key, cell in zip(columns, record, strict=False) if key and cell}
        cells += 1 + len(row)
        if cells > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS:,} values")
        if row:
            rows.append(row)
    return rows
