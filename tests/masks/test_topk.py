"""The largest of many, against a stable sort, on CPUs and on accelerators: where the sample decides and misleads."""

from math import inf, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparseift.masks import topk
from sparseift.masks.topk import largest

from ..waits import Waits

SIZE = 5000


def expected(values: Tensor, count: int, among: Tensor) -> Tensor:
    """NaN as minus infinity; of equals the first."""
    order = torch.where(values.isnan(), -inf, values.double())[among].argsort(descending=True, stable=True)
    marks = torch.zeros_like(among)
    marks[among.nonzero().squeeze(1)[order[:count]]] = True
    return marks


def drawn(kind: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(SIZE, generator=generator)
    if kind == "ties":
        return values.round()
    if kind == "one value":
        return torch.zeros(SIZE)
    if kind == "nans":
        return values.where(torch.rand(SIZE, generator=generator) < 0.3, nan)
    if kind == "infinities":
        return (values * 1e38).exp()
    if kind == "a sample that misleads":  # every 13th, which is what the sample looks at, is large
        return values.abs() * (1 + 99 * (torch.arange(SIZE) % 13 == 0))
    return values.to({"bfloat16": torch.bfloat16, "float64": torch.float64}.get(kind, torch.float32))


@pytest.mark.parametrize(
    "kind",
    ["float32", "float64", "bfloat16", "ties", "one value", "nans", "infinities", "a sample that misleads"],
)
@settings(deadline=None, max_examples=25)
@given(st.integers(0, SIZE), st.floats(0, 1), st.integers(0, 9))
def test_largest_of_many(kind: str, count: int, density: float, seed: int) -> None:
    values = drawn(kind, seed)
    among = torch.rand(SIZE, generator=torch.Generator().manual_seed(seed + 99)) < density
    before, topk.SAMPLE = topk.SAMPLE, 300
    try:
        marked = largest(values, count, among)
        assert torch.equal(marked, expected(values, count, among))
        assert torch.equal(largest(values, count), expected(values, count, torch.ones_like(among)))
        assert torch.equal(topk.by_threshold(values, count, among), marked), "as on an accelerator"
    finally:
        topk.SAMPLE = before


def test_few_values_are_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes it fast: of a large layer all but some percent are decided by comparing."""
    ranked = []
    whole = topk._first_largest
    monkeypatch.setattr(topk, "_first_largest", lambda values, n: ranked.append(len(values)) or whole(values, n))
    values = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).abs()
    for share in (0.001, 0.075, 0.3, 0.7):
        largest(values, int(share * len(values)), torch.arange(len(values)) % 4 > 0)
    assert len(ranked) == 4 and max(ranked) < 0.06 * len(values)


def test_one_top_k_needs_no_wait() -> None:
    values, among = torch.randn(SIZE), torch.rand(SIZE) < 0.5
    for count in (0, 1, SIZE // 3, SIZE):
        with Waits() as waits:
            topk.by_threshold(values, count, among)
        assert not waits.waits
