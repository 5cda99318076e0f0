"""SET's random growth: decided by seed, step and layer, and fair to every candidate."""

import os
import subprocess
import sys
from itertools import pairwise
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from sparseift import Masks
from sparseift.sparsifiers import SET, Update

OPTIONS = {"update_interval": 1, "begin": 0, "end": 1.0, "drop_fraction": 0.5, "anneal": "constant"}
PLACES, ACTIVE, DROPPED = 48, 16, 8


def grown(step: int = 1, seed: int = 0, noise: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Masks of two equal layers after one update from equal beginnings: the last 8 of places 0 to 15 stay."""
    torch.manual_seed(noise)
    net = nn.Sequential(nn.Linear(8, 6), nn.Linear(8, 6))
    for layer in net:
        layer.weight.data = torch.arange(1.0, PLACES + 1).view(6, 8).to(dtype)
        layer.weight.grad = torch.rand(6, 8).to(dtype)
    masks = Masks(net, {name: torch.arange(PLACES).view(6, 8) < ACTIVE for name in "01"})
    masks.apply()
    SET(**OPTIONS).update(masks, [], Update(step, 1000, seed))
    return [masks[name].flatten() for name in masks]


def told() -> str:
    return " ".join(str(place) for mask in grown(step=3, seed=11) for place in mask.nonzero().flatten().tolist())


def test_another_process_grows_the_same() -> None:
    """This file is also the program of that process."""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == told()


def test_seed_step_and_layer_decide_and_nothing_else() -> None:
    first, second = grown()
    assert all(torch.equal(a, b) for a, b in zip(grown(noise=5), (first, second), strict=True))
    assert not torch.equal(first, second), "layers differ"
    assert not torch.equal(first, grown(step=2)[0]), "steps differ"
    assert not torch.equal(first, grown(seed=1)[0]), "seeds differ"


def test_the_global_generator_is_neither_read_nor_moved(loop) -> None:
    run = loop(lr=0.1)
    run.backward(1)
    before = torch.get_rng_state()
    SET(**OPTIONS).update(run.masks, [run.optimizer], Update(1, 10, 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_precision_does_not_change_what_grows(dtype: torch.dtype) -> None:
    expected = grown()
    torch.set_default_dtype(dtype)
    try:
        found = grown(dtype=dtype)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def chi_square(hits: Tensor, draws: int, p: float) -> float:
    """Standardised: about 0, and within 4 of it unless the draws are unfair."""
    freedom = len(hits) - 1
    statistic = ((hits - draws * p) ** 2).sum().item() / (draws * p * (1 - p)) * freedom / len(hits)
    return (statistic - freedom) / sqrt(2 * freedom)


def test_growth_is_uniform_over_candidates() -> None:
    draws = 400
    results = [grown(step) for step in range(1, draws + 1)]
    candidates = [*range(DROPPED), *range(ACTIVE, PLACES)]
    for layer in (0, 1):
        hits = torch.stack([masks[layer] for masks in results]).double().sum(0)
        assert (hits[DROPPED:ACTIVE] == draws).all(), "the largest weights stay"
        assert hits.sum() == draws * ACTIVE
        assert abs(chi_square(hits[candidates], draws, DROPPED / len(candidates))) < 4


def test_layers_and_steps_draw_independently() -> None:
    """Two fair draws of 8 among 40 share 1.6 places on average, with a variance of 1.05."""
    draws, chance = 400, DROPPED * DROPPED / 40
    results = [grown(step) for step in range(1, draws + 2)]
    between_layers = sum(int((a & b).sum()) - DROPPED for a, b in results[:draws]) / draws
    between_steps = sum(int((a[0] & b[0]).sum()) - DROPPED for a, b in pairwise(results)) / draws
    assert abs(between_layers - chance) < 4 * sqrt(1.05 / draws)
    assert abs(between_steps - chance) < 4 * sqrt(1.05 / draws)


if __name__ == "__main__":
    print(told())
