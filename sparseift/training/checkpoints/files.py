"""Finds the checkpoints of a run folder and checks that they are intact."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ...errors import UserError
from .integrity import load

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"

SETTINGS, STOPPED, STEPS = "settings", "stopped", "steps_per_epoch"
"""Entries of a checkpoint: the settings of the run, whether it has stopped early, and optimizer steps per epoch."""

FIT_LOOP = ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.automatic_optimization.optim_progress")
PARTS = (
    *((part,) for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", SETTINGS)),
    *(("loops", "fit_loop", part) for part in FIT_LOOP),
    *(("callbacks", part) for part in ("Accounting", "Checkpoint", "RngState")),
)
"""Keys of what a checkpoint must hold to be resumed from. Lightning would go on without some of them."""


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at `path`, or the newest intact one in the run folder `path`.

    If last.ckpt is damaged or missing, previous.ckpt is used, with a warning.

    Raises:
        UserError: There is no intact checkpoint.
    """
    folder = next((folder for folder in (path / "checkpoints", path) if _saved_in(folder)), None)
    if folder is None and (path.is_dir() or not path.exists()):
        raise UserError(f"no checkpoint at {path}; expected a .ckpt file or a run folder that holds checkpoints/{LAST}")
    chosen = folder / LAST if folder else path
    reason = problem(chosen)
    if reason is None:
        return chosen
    previous = chosen.with_name(PREVIOUS)
    if chosen.name != LAST or problem(previous):
        raise UserError(f"{reason}; there is no intact checkpoint beside it" if chosen.name == LAST else reason)
    warnings.warn(f"{reason}; using {previous}", stacklevel=2)
    return previous


def problem(path: Path) -> str | None:
    """Return why a file cannot be used as a checkpoint, or None."""
    if not path.exists():
        return f"{path} is missing"
    try:
        _load_shapes(path)
    except UserError as error:
        return str(error)
    return None


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings that the callback `Checkpoint` has saved.

    Raises:
        UserError: The file is damaged, or not a checkpoint that can be resumed from.
    """
    content = _load_shapes(path)
    for part in PARTS:
        inner: Any = content
        for key in part:
            if not isinstance(inner, dict) or key not in inner:
                raise UserError(f"{path} has no {key}; expected a checkpoint that sparseift.train has written")
            inner = inner[key]
    return content[SETTINGS]


def _saved_in(folder: Path) -> bool:
    return (folder / LAST).exists() or (folder / PREVIOUS).exists()


def _load_shapes(path: Path) -> dict[str, Any]:
    return load(path, map_location="meta", mmap=True)
