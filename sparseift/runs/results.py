"""Reads and writes results.json."""

from __future__ import annotations

import json
import platform
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.checks import require
from ..common.files import replacing
from ..errors import Damaged, UserError
from .files import read_json
from .schema import VERSION, validate
from .upgrade import upgraded_results

CHECKSUM = "crc32"
"""Entry of results.json: the CRC-32 of the other entries, to notice damage."""


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json atomically, with the version of the schema and a checksum.

    Raises:
        UserError: The results do not follow the schema.
    """
    content = {"version": VERSION, **results}
    validate(content)
    write_json(path, {**content, CHECKSUM: _checksum(content)})


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically.

    Raises:
        ValueError: A number is not finite, which JSON cannot express.
    """
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_results(path: Path) -> dict[str, Any]:
    """Read results.json, and upgrade it to the current version.

    Raises:
        Damaged: The file is not JSON, or its entries do not have the checksum in it.
        UserError: The file does not follow the schema, or has a newer version.
    """
    results = read_json(path)
    if isinstance(results, dict) and results.pop(CHECKSUM, None) not in (None, _checksum(results)):
        raise Damaged(f"{path.name} is damaged: its entries differ from the checksum {CHECKSUM} in it")
    try:
        if isinstance(results, dict):
            written = results.get("version")
            newer = isinstance(written, int) and written > VERSION
            require(not newer, "version", written, f"at most {VERSION}; a newer version of sparseift wrote the file")
            results = upgraded_results(results)
        validate(results)
    except UserError as error:
        raise UserError(f"{path.name} is not valid: {error}") from error
    return results


def _checksum(content: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package, and of the libraries that affect the result of a run."""
    packages = ("sparseift", "torch", "torchvision", "pytorch-lightning")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
