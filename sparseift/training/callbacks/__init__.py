"""Callbacks: masks, checkpoints, accounting, and measurements. Imports Lightning, `masks` and `sparsifiers`."""

from .accounting import Accounting
from .channels_last import ChannelsLast
from .checkpoint import Checkpoint
from .divergence import Divergence
from .ema import EMA
from .histograms import Histograms
from .hyperparameters import Hyperparameters
from .mask_pictures import MaskPictures
from .masks import MaskCallback
from .preemption import Preemption
from .progress import progress, quiet
from .ranks import RankWatch
from .remask import Remask
from .rng import RngState
from .spectral import Spectral
from .topology import Topology

__all__ = [
    "EMA",
    "Accounting",
    "ChannelsLast",
    "Checkpoint",
    "Divergence",
    "Histograms",
    "Hyperparameters",
    "MaskCallback",
    "MaskPictures",
    "Preemption",
    "RankWatch",
    "Remask",
    "RngState",
    "Spectral",
    "Topology",
    "progress",
    "quiet",
]
