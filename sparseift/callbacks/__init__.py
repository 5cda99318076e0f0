"""What a run keeps and shows while Lightning trains: checkpoints, generators, expenses, progress, masks, loggers."""

from .accounting import Accounting
from .channels_last import ChannelsLast
from .checkpoint import AtomicCheckpointIO, Checkpoint, find_checkpoint, has_checkpoint, settings_in
from .divergence import Divergence
from .ema import EMA
from .histograms import Histograms
from .loggers import Hyperparameters, TensorBoard, mlflow, wandb
from .mask_pictures import MaskPictures
from .metrics_csv import MetricsCsv
from .preemption import Preemption
from .progress import progress, quiet
from .ranks import RankWatch
from .rng import RngState
from .spectral import Spectral
from .topology import Topology

__all__ = [
    "EMA",
    "Accounting",
    "AtomicCheckpointIO",
    "ChannelsLast",
    "Checkpoint",
    "Divergence",
    "Histograms",
    "Hyperparameters",
    "MaskPictures",
    "MetricsCsv",
    "Preemption",
    "RankWatch",
    "RngState",
    "Spectral",
    "TensorBoard",
    "Topology",
    "find_checkpoint",
    "has_checkpoint",
    "mlflow",
    "progress",
    "quiet",
    "settings_in",
    "wandb",
]
