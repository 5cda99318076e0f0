"""A small sweep written by hand, and what is found in it."""

from pathlib import Path

import pytest

from sparseift.runs.read import find_runs

from .folders import write_run

DENSE = {0: 0.90, 1: 0.92, 2: 0.91}
WIDE = {0: 0.93, 1: 0.94, 2: 0.945}
STATIC = {0: 0.89, 1: 0.93, 2: 0.925}


def write_sweep(folder: Path) -> Path:
    """Dense, wide with RigL, clearly better, and wide with static masks, no better: three seeds of each."""
    for seed in DENSE:
        write_run(folder / f"dense{seed}", "dense", DENSE[seed], seed)
        write_run(
            folder / f"wide{seed}",
            "sparse_wide",
            WIDE[seed],
            seed,
            sparsity=0.75,
            sparsifier="rigl",
            columns={"masks/replaced": 0.1, "masks/density": 0.25},
        )
        write_run(folder / f"static{seed}", "sparse_wide", STATIC[seed], seed, sparsity=0.75, sparsifier="static")
    return folder


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "sweep")


@pytest.fixture
def runs(sweep):
    return find_runs([sweep])
