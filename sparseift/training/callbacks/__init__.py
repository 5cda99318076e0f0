"""Callbacks: masks, checkpoints, accounting, and measurements. Imports Lightning, `masks` and `sparsifiers`."""

from .accounting import Accounting
from .channels_last import ChannelsLast, suits_channels_last
from .checkpoint import Checkpoint
from .divergence import Divergence
from .ema import EMA
from .generated_text import GeneratedText
from .histograms import Histograms
from .hyperparameters import Hyperparameters
from .mask_pictures import MaskPictures
from .masks import MaskCallback
from .preemption import Preemption
from .progress import progress, quiet
from .remask import Remask
from .rng import RngState
from .same_start import SameStart
from .spectral import Spectral
from .steps import check_length, planned_steps, recipe_steps
from .topology import Topology
from .train_metrics import TrainMetrics

__all__ = [
    "EMA",
    "Accounting",
    "ChannelsLast",
    "Checkpoint",
    "Divergence",
    "GeneratedText",
    "Histograms",
    "Hyperparameters",
    "MaskCallback",
    "MaskPictures",
    "Preemption",
    "Remask",
    "RngState",
    "SameStart",
    "Spectral",
    "Topology",
    "TrainMetrics",
    "check_length",
    "planned_steps",
    "progress",
    "quiet",
    "recipe_steps",
    "suits_channels_last",
]
