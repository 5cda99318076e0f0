"""Every member and every sparsifier of conf learns: on digits it comes within three points of the dense network."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from .programs import results

CONF = Path(__file__).parents[2] / "conf"
NET = ("model._target_=tiny_nets.residual", "model.base_width=48", "dataset.crop_padding=0")
SETTINGS = (*NET, "dataset.batch_size=64", "recipe.epochs=8", "logger=none")
"""160 steps."""

MEMBERS = sorted(path.stem for path in CONF.glob("member/*.yaml"))
SPARSIFIERS = sorted(path.stem for path in CONF.glob("sparsifier/*.yaml"))
VARIANTS = ["sparse_parallel member.activation=false", "sparse_parallel member.norm=false"]
WITHIN = 0.03


def intervals(node: Any, key: str) -> list[str]:
    """An override for every update interval of a sparsifier, so that masks change within 160 steps."""
    if not isinstance(node, dict):
        return [f"{key}=20"] if key.endswith(".update_interval") else []
    return [override for name, value in node.items() for override in intervals(value, f"{key}.{name}")]


@cache
def composed(program, sparsifier: str) -> list[str]:
    shown = program("sparseift.train", [f"sparsifier={sparsifier}", "--cfg", "job"], CONF)
    return [f"sparsifier={sparsifier}", *intervals(yaml.safe_load(shown.out)["sparsifier"], "sparsifier")]


def accuracy(folder: Path) -> float:
    return results(folder)["test"]["acc1"]


@pytest.fixture
def dense(trained) -> float:
    found = accuracy(trained(*SETTINGS, "member=dense"))
    assert found > 0.95
    return found


@pytest.mark.parametrize("member", [name for name in MEMBERS if name != "dense"] + VARIANTS)
def test_a_member_learns(program, trained, dense: float, member: str) -> None:
    rigl = composed(program, "rigl")
    assert accuracy(trained(*SETTINGS, *f"member={member}".split(), *rigl)) > dense - WITHIN


@pytest.mark.parametrize("sparsifier", SPARSIFIERS)
def test_a_sparsifier_lets_a_network_learn(program, trained, dense: float, sparsifier: str) -> None:
    chosen = composed(program, sparsifier)
    assert accuracy(trained(*SETTINGS, "member=sparse_wide", "sparsity=0.5", *chosen)) > dense - WITHIN
