"""The folder of a sweep that is said again: the one of the newest sweep with the same overrides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from ..errors import UserError

RESUME = "sweep.resume=true"
ROOT = Path("multirun")
"""Where sweeps are, as conf/train.yaml says."""


def resumed(overrides: Sequence[str], sweep: bool) -> list[str]:
    """The overrides of a sweep, with what makes it go on if RESUME is among them: its folder, and resume=auto. Raises
    UserError where this is no sweep."""
    overrides = list(overrides)
    if RESUME not in [override.lower() for override in overrides]:
        return overrides
    if not sweep:
        raise UserError("sweep.resume=true goes on with a sweep: add -m; a single run goes on with resume=auto")
    added = ["resume=auto"]
    if not any(override.startswith("hydra.sweep.dir=") for override in overrides):
        earlier = [file.parent for file in ROOT.glob("*/multirun.yaml") if _overrides_in(file) == _said(overrides)]
        if earlier:
            added.append(f"hydra.sweep.dir={max(earlier)}")
        else:
            print(f"sparseift: no sweep in {ROOT}/ has these overrides: this one is new", file=sys.stderr)
    return [*overrides, *added]


def _overrides_in(file: Path) -> list[str]:
    return _said(OmegaConf.load(file).hydra.overrides.task)


def _said(overrides: Sequence[str]) -> list[str]:
    """What decides which jobs there are: not what launches them."""
    others = ("sweep.", "hydra.", "hydra/", "resume=")
    return sorted(override for override in overrides if not override.startswith(others))
