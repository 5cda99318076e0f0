"""What a run folder contains: what a start leaves there, what training has written, and files of others."""

from __future__ import annotations

import time
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

LOCK = ".lock"
"""The file that is locked by the process that trains in the folder."""

NOTES = ".hydra"
"""The folder of the files that describe the run."""

ERROR = "error.txt"
"""The file with the reason why a run has failed."""

STARTED = time.time()
"""When this process started, in seconds since 1970. Files that are older were there before."""

OF_A_START = (LOCK, NOTES, ERROR, "*.log", "*.out", "*.err")
"""What a start leaves before it trains: the files of this program, the logs of Hydra and SLURM, redirected output."""

RESULTS = "results.json"
"""The file that a run writes at its end, and a report reads."""

OF_THE_END = (RESULTS, "model.pt2")

CHECKPOINTS = ("checkpoints/last.ckpt", "checkpoints/previous.ckpt")
"""Checkpoints to resume from."""

OF_TRAINING = (
    *OF_THE_END,
    *("metrics.csv", "layers.csv", "generated.json", "tokenizer.json", "evaluation_*.json"),
    *("tensorboard/events.out.tfevents.*", "tensorboard/hparams.yaml"),
    *(*CHECKPOINTS, "checkpoints/best.ckpt"),
    *(
        "results.partial",
        "model.partial",
        "metrics.partial",
        "layers.partial",
        "generated.partial",
        "tokenizer.partial",
        "checkpoints/last.partial",
        "checkpoints/best.partial",
    ),
)
"""What a run writes while it trains and at its end. A new run in the folder removes these files and no others."""


def more_than_a_start(folder: Path) -> list[str]:
    """Return the names of everything in a folder that a start does not leave there."""
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in OF_A_START)]


def is_failed_start(folder: Path) -> bool:
    """Whether a run has failed in a folder before it saved anything that could be used."""
    saved = [folder / RESULTS, *folder.glob("checkpoints/*")]
    return (folder / ERROR).exists() and not any(path.exists() for path in saved)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder has a checkpoint to resume from."""
    return any((folder / name).exists() for name in CHECKPOINTS)


def written(folder: Path) -> list[Path]:
    """Return the files in a folder that have the names of what a run writes."""
    return [path for pattern in OF_TRAINING for path in sorted(folder.glob(pattern)) if not path.is_dir()]


def remove_written(folder: Path) -> None:
    """Remove what an earlier run has written. All other files stay."""
    for path in written(folder):
        path.unlink()
    for name in ("checkpoints", "tensorboard"):
        with suppress(OSError):  # other files are in it
            (folder / name).rmdir()
