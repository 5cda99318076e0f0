"""Composed configs, as the programs see them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="session")
def composed() -> Callable[..., DictConfig]:
    def compose_with(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", list(overrides))

    return compose_with
