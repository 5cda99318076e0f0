"""Choices between kernels by measured time, kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROUNDS = range(3, 40)
"""Fewest and most measurements of each way, in turns, of which the shortest counts: other programs only make them
longer."""

ENOUGH = 0.05
"""Seconds after which more measurements are not worth it."""


def faster(ways: Mapping[str, Callable[[], object]], margin: float, clock: Callable[[], float]) -> dict[str, Any]:
    """Time ways to compute the same, and return the choice and the seconds of each.

    Args:
        ways: Functions by name. The first one is the usual one.
        margin: Share of the time of the usual way that another one must save.
    """
    for way in ways.values():
        way()
    seconds = dict.fromkeys(ways, float("inf"))
    begin = clock()
    for turn in range(ROUNDS.stop):
        if turn >= ROUNDS.start and clock() - begin >= ENOUGH:
            break
        for name, way in ways.items():
            start = clock()
            way()
            seconds[name] = min(seconds[name], clock() - start)
    usual, best = next(iter(seconds)), min(seconds, key=seconds.__getitem__)
    chosen = best if seconds[best] < (1 - margin) * seconds[usual] else usual
    return {"chosen": chosen, "seconds": seconds}


def kept(folder: Path, key: Mapping[str, Any], choose: Callable[[], dict[str, Any]]) -> str:
    """Return the choice for a key, which is made once and kept in a folder.

    Processes that choose at the same time agree on the first choice that is written. If nothing can be written, the
    choice is not kept.
    """
    text = json.dumps(key, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    if (found := _read(path, text)) is not None:
        return found
    choice = choose()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if _read(path, text) is None:
            path.unlink(missing_ok=True)  # a damaged file
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", encoding="utf-8") as file:
            json.dump({"key": text, **choice}, file)
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return _read(path, text) or choice["chosen"]


def _read(path: Path, key: str) -> str | None:
    """The choice in a file; None if there is none for the key."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content["chosen"] if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
