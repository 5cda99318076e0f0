"""Compares the folders of runs that must end alike."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

LAYERS = "layers.csv"
"""The file with the values of single layers, which runs with masks write."""

OWN = ("seconds", "crc32")
"""Entries of results.json that differ between two runs: the time, and the checksum over it."""


def results(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key not in OWN}


def rows(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def difference(folder: Path, reference: Path) -> str:
    """Return how a finished run differs from the reference, or an empty string."""
    if not (folder / "results.json").exists():
        return "there is no results.json"
    found, expected = results(folder), results(reference)
    differing = [key for key in expected | found if found.get(key) != expected.get(key)]
    if differing:
        return f"results.json differs in {', '.join(differing)}"
    if rows(folder) != rows(reference):
        lost = [row["step"] for row in rows(reference) if row not in rows(folder)]
        return f"metrics.csv differs: rows of steps {', '.join(lost)} are lost" if lost else "metrics.csv differs"
    if (reference / LAYERS).exists() and rows(folder, LAYERS) != rows(reference, LAYERS):
        return f"{LAYERS} differs"
    return ""
