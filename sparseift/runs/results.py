"""Reads and writes results.json."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.checks import require
from ..common.files import replacing
from ..errors import UserError
from .files import read_json
from .schema import VERSION, validate
from .upgrade import upgraded_results


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results.json atomically, with the version of the schema.

    Raises:
        UserError: The results do not follow the schema.
    """
    content = {"version": VERSION, **results}
    validate(content)
    write_json(path, content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_results(path: Path) -> dict[str, Any]:
    """Read results.json, and upgrade it to the current version.

    Raises:
        UserError: The file is not JSON, does not follow the schema, or has a newer version.
    """
    results = read_json(path)
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


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package, and of the libraries that affect the result of a run."""
    packages = ("sparseift", "torch", "torchvision", "pytorch-lightning")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
