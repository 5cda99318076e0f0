"""generated.json: text that a network has generated during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from .files import present, read_json
from .results import write_json

GENERATED = "generated.json"


class Continuation(TypedDict):
    """A text after a number of optimizer steps, and the prompt that it continues."""

    step: int
    prompt: str
    text: str


def write_generated(folder: Path, texts: list[Continuation]) -> None:
    """Write the texts atomically."""
    write_json(folder / GENERATED, texts)


def read_generated(folder: Path) -> list[Continuation]:
    """Return the texts in a run folder, none without the file. Entries of another form are left out.

    Raises:
        UserError: The file cannot be read.
    """
    content = read_json(folder / GENERATED) if present(folder / GENERATED) else []
    return [entry for entry in content if _fits(entry)] if isinstance(content, list) else []


def _fits(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"step", "prompt", "text"}:
        return False
    return type(entry["step"]) is int and isinstance(entry["prompt"], str) and isinstance(entry["text"], str)
