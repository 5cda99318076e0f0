"""Composes a config without running a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError
from .hydra_versions import VERSION_BASE
from .messages import described
from .overrides import config_folder, plain_choice


def composed(overrides: Iterable[str], nodes: Iterable[str], folders: Sequence[str] = ()) -> dict[str, Any]:
    """Return nodes of the config of sparseift.train with these overrides, resolved.

    Args:
        folders: Folders of configs besides the package's own.

    Raises:
        UserError: An override is not valid.
    """
    try:
        with hydra.initialize_config_dir(str(config_folder()), **VERSION_BASE):
            config: DictConfig = hydra.compose("train", [*search_path(folders), *map(plain_choice, overrides)])
        return {name: OmegaConf.to_container(config[name], resolve=True) for name in nodes}
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(described(error)) from error


def search_path(folders: Sequence[str | Path]) -> list[str]:
    """Return the override that adds folders of configs to the package's own, if there are any."""
    paths = ",".join(f"'file://{folder}'" for folder in folders)
    return [f"hydra.searchpath=[{paths}]"] if folders else []
