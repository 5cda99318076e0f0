"""The checkpoint files of a run folder: finds them and checks that they are intact."""

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
    folder = next((f for f in (path / "checkpoints", path) if _saved_in(f)), None)
    if path.is_file() and _whole(path):
        return path
    candidates = [path, path.with_name(PREVIOUS)] if path.is_file() else []
    if folder:
        candidates = [folder / LAST, folder / PREVIOUS]
    if not candidates:
        raise UserError(f"no checkpoint at {path}; expected a .ckpt file or a run folder that holds checkpoints/{LAST}")
    for candidate in candidates:
        if candidate.exists() and _whole(candidate):
            if candidate != candidates[0]:
                warnings.warn(f"{candidates[0]} is damaged; using {candidate}", stacklevel=2)
            return candidate
    raise UserError(f"{candidates[0]} is damaged, and there is no intact checkpoint beside it")


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder holds a checkpoint to resume from. best.ckpt is not one."""
    return _saved_in(folder / "checkpoints")


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings that the callback `Checkpoint` saved in a checkpoint."""
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
