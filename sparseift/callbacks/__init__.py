"""What a run keeps and shows while Lightning trains: checkpoints, generators, expenses, progress."""

from .accounting import Accounting
from .checkpoint import AtomicCheckpointIO, Checkpoint, find_checkpoint, has_checkpoint, settings_in
from .ema import EMA
from .metrics_csv import MetricsCsv
from .progress import progress, quiet
from .rng import RngState

__all__ = [
    "EMA",
    "Accounting",
    "AtomicCheckpointIO",
    "Checkpoint",
    "MetricsCsv",
    "RngState",
    "find_checkpoint",
    "has_checkpoint",
    "progress",
    "quiet",
    "settings_in",
]
