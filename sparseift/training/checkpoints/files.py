"""Checkpoint files of a run folder: find them, and check that they are whole."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

SETTINGS = "settings"


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means: itself, or the newest whole one in the run folder `path`.

    A damaged last.ckpt gives way to previous.ckpt, with a warning. Raises UserError where there is nothing to go on
    from.
    """
    folder = next((f for f in (path / "checkpoints", path) if _saved_in(f)), None)
    if path.is_file() and _whole(path):
        return path
    candidates = [path, path.with_name(PREVIOUS)] if path.is_file() else []
    if folder:
        candidates = [folder / LAST, folder / PREVIOUS]
    if not candidates:
        raise UserError(f"no checkpoint at {path}; give a .ckpt file or a run folder that holds checkpoints/{LAST}")
    for candidate in candidates:
        if candidate.exists() and _whole(candidate):
            if candidate != candidates[0]:
                warnings.warn(f"{candidates[0]} is damaged; going on from {candidate}", stacklevel=2)
            return candidate
    raise UserError(f"{candidates[0]} is damaged, and there is no whole checkpoint beside it")


def has_checkpoint(folder: Path) -> bool:
    """Whether the run of `folder` has come to its first checkpoint. best.ckpt is none to go on from."""
    return _saved_in(folder / "checkpoints")


def settings_in(path: Path) -> dict[str, Any]:
    """What `Checkpoint` was given as `settings` when it wrote the checkpoint `path`."""
    return _load_shapes(path).get(SETTINGS, {})


def _saved_in(folder: Path) -> bool:
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _load_shapes(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="meta", weights_only=True, mmap=True)


def _whole(path: Path) -> bool:
    try:
        _load_shapes(path)
    except Exception:
        return False
    return True
