"""Random numbers by a hash, against the published generator in plain integers."""

from math import sqrt

import pytest
import torch

from sparseift.common import cache
from sparseift.common.seeds import GAMMA, hashed_, uniform_like

WORD = 2**64 - 1


def splitmix64(seed: int, count: int) -> list[int]:
    """The numbers of Java's SplittableRandom, as Steele, Lea and Flood write it (figure 17)."""
    found = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & WORD
        z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        found.append(z ^ (z >> 31))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_published_numbers(seed: int) -> None:
    found = hashed_(torch.arange(1, 51) * GAMMA + seed)
    assert [number & WORD for number in found.tolist()] == splitmix64(seed, 50)


def test_a_known_number() -> None:
    """The first for a seed of 0, which other implementations print."""
    assert splitmix64(0, 1) == [0xE220A8397B1DCDAF]


@pytest.mark.parametrize("piece", [5, 2**16])
@pytest.mark.parametrize("seed", [0, 2**62 + 5])
def test_uniform_numbers_are_the_upper_bits(seed: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PIECE", piece)
    expected = [((number >> 41) + 0.5) / 2**23 for number in splitmix64(seed, 12)]
    found = uniform_like(torch.zeros(3, 4, dtype=torch.bfloat16), seed)
    assert found.dtype == torch.float32 and found.double().flatten().tolist() == expected
    turned = torch.zeros(4, 3).T
    assert torch.equal(uniform_like(turned, seed), found), "whatever the layout in memory"


def test_uniform_numbers_are_uniform() -> None:
    count = 100_000
    found = uniform_like(torch.empty(count), 7).double()
    assert found.min() > 0 and found.max() < 1
    hits = torch.histc(found, bins=64, min=0, max=1)
    statistic = ((hits - count / 64) ** 2 / (count / 64)).sum().item()
    assert abs(statistic - 63) < 4 * sqrt(2 * 63)
    assert abs(torch.corrcoef(torch.stack([found[1:], found[:-1]]))[0, 1].item()) < 4 / sqrt(count)
