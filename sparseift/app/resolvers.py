"""Functions that the configs call, as in ${fraction:0.3,${recipe.epochs}}. Import this before a config is resolved."""

from __future__ import annotations

from omegaconf import OmegaConf

from ..common import slurm
from ..common.folders import count_folders
from .names import run_name

OmegaConf.register_new_resolver("started", slurm.started, use_cache=True, replace=True)
OmegaConf.register_new_resolver("run_name", lambda *, _root_: run_name(_root_), replace=True)
OmegaConf.register_new_resolver("fraction", lambda share, total: round(share * total), replace=True)
OmegaConf.register_new_resolver("folders", count_folders, replace=True)
