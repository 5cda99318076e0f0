"""Functions that the configs call, as in ${fraction:0.3,${recipe.epochs}}. Import this before a config is resolved."""

from __future__ import annotations

from ..common import slurm
from ..common.folders import count_folders
from .hydra_versions import register_resolver
from .names import run_name

register_resolver("started", slurm.started, use_cache=True, replace=True)
register_resolver("run_name", lambda *, _root_: run_name(_root_), replace=True)
register_resolver("fraction", lambda share, total: round(share * total), replace=True)
register_resolver("folders", count_folders, replace=True)
