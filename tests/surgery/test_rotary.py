"""Tables of frequencies of another width, against tables that are computed for it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparseift.surgery.rotary import resampled

POSITIONS = 32


def frequencies(count: int, base: float) -> Tensor:
    return 1.0 / (base ** (torch.arange(0, 2 * count, 2).float() / (2 * count)))


def twice(angles: Tensor) -> Tensor:
    return torch.cat((angles, angles), -1)


TABLES: dict[str, Callable[[Tensor], Tensor]] = {
    "cosines": torch.cos,
    "sines": torch.sin,
    "cosines, twice in a row": lambda angles: twice(angles).cos()[None, None],
    "sines, each twice": lambda angles: angles.repeat_interleave(2, -1).sin(),
    "complex": lambda angles: torch.polar(torch.ones_like(angles), angles),
    "sinusoidal, alternating": lambda angles: torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[:, None],
    "sinusoidal, in a row": lambda angles: torch.cat((angles.sin(), angles.cos()), -1)[None],
}


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, base: float) -> None:
    old, new = (
        TABLES[name](torch.outer(torch.arange(POSITIONS).float(), frequencies(count, base))) for count in (32, 45)
    )
    found = resampled(old, new.shape)
    assert found is not None and found.dtype == new.dtype
    torch.testing.assert_close(found, new, rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_frequencies(base: float) -> None:
    found = resampled(frequencies(32, base), torch.Size([45]))
    assert found is not None
    torch.testing.assert_close(found, frequencies(45, base))


OTHERS = {
    "random": torch.randn(POSITIONS, 8),
    "ones": torch.ones(8),
    "a table of ones": torch.ones(POSITIONS, 8),
    "linear": torch.linspace(1, 0.1, 8),
    "a running mean": torch.rand(8),
    "two frequencies": torch.tensor([1.0, 0.01]),
    "integers": torch.arange(8),
    "a mask": torch.ones(8, 8, dtype=torch.bool).tril(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_tables_are_left_alone(name: str) -> None:
    table = OTHERS[name]
    assert resampled(table, torch.Size([*table.shape[:-1], 2 * table.shape[-1]])) is None
