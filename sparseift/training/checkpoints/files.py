"""Finds the checkpoints of a run folder and checks that they are intact."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

SETTINGS = "settings"


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at `path`, or the newest intact one in the run folder `path`.

    If last.ckpt is damaged, previous.ckpt is used, with a warning.

    Raises:
        UserError: There is no intact checkpoint.
    """
    folder = next((folder for folder in (path / "checkpoints", path) if _saved_in(folder)), None)
    last = path if path.is_file() else folder / LAST if folder else None
    if last is None:
        raise UserError(f"no checkpoint at {path}; expected a .ckpt file or a run folder that holds checkpoints/{LAST}")
    if _intact(last):
        return last
    previous = last.with_name(PREVIOUS)
    if not _intact(previous):
        raise UserError(f"{last} is damaged, and there is no intact checkpoint beside it")
    warnings.warn(f"{last} is damaged; using {previous}", stacklevel=2)
    return previous


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings that the callback `Checkpoint` has saved."""
    return _load_shapes(path).get(SETTINGS, {})


def _saved_in(folder: Path) -> bool:
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _load_shapes(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="meta", weights_only=True, mmap=True)


def _intact(path: Path) -> bool:
    try:
        _load_shapes(path)
    except Exception:  # torch raises errors of many types for damaged files
        return False
    return True
