"""Drop and grow against plain lists, on tensors made of ties."""

from math import inf

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparseift.masks.patterns import Unstructured
from sparseift.masks.topk import grow

from ..sparsifiers import reference

thorough = settings(deadline=None, max_examples=120)
numbers = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, inf, -inf, 1e-38]) | st.floats(width=32, allow_nan=False)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])


@st.composite
def layers(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight or a score of 1 to 4 dimensions, and a mask."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda s: torch.Size(s).numel() <= 24))
    size = torch.Size(shape).numel()
    values = draw(st.lists(numbers, min_size=size, max_size=size))
    mask = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return torch.tensor(values, dtype=draw(dtypes)).view(shape), torch.tensor(mask).view(shape)


def flat(tensor: torch.Tensor) -> list:
    return tensor.flatten().tolist()


def drop(weight: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
    return Unstructured().largest(weight.abs(), int(mask.sum()) - count, among=mask)


ties = (torch.zeros(4), torch.tensor([True, False, True, True]))


@thorough
@given(layers(), st.integers(0, 24))
@example(ties, 0)
@example(ties, 1)
@example(ties, 3)
def test_drop(layer: tuple[torch.Tensor, torch.Tensor], count: int) -> None:
    weight, mask = layer
    count = min(count, int(mask.sum()))
    before = weight.clone(), mask.clone()
    result = drop(weight, mask, count)
    assert result.dtype == torch.bool and result.shape == mask.shape
    assert flat(result) == reference.kept(flat(weight), flat(mask), count)
    assert not (result & ~mask).any() and int(result.sum()) == int(mask.sum()) - count
    assert torch.equal(weight, before[0]) and torch.equal(mask, before[1])


@thorough
@given(layers(), st.integers(0, 24))
@example(ties, 0)
@example(ties, 1)
@example((torch.full((3,), -inf), torch.tensor([False, True, False])), 2)
@example((torch.tensor([inf, 0.0, 0.0]), torch.tensor([True, False, False])), 1)
@example((torch.tensor([inf, inf, 0.0]), torch.tensor([False, False, True])), 1)
def test_grow(layer: tuple[torch.Tensor, torch.Tensor], count: int) -> None:
    score, kept = layer
    count = min(count, int((~kept).sum()))
    before = score.clone(), kept.clone()
    result = grow(score, kept, count)
    assert result.dtype == torch.bool and result.shape == kept.shape
    assert flat(result) == reference.grown(flat(score), flat(kept), count)
    assert (result >= kept).all() and int(result.sum()) == int(kept.sum()) + count
    assert torch.equal(score, before[0]) and torch.equal(kept, before[1])


def test_active_zeros_are_dropped_first_and_masked_zeros_never_stand_in_for_them() -> None:
    weight = torch.tensor([0.0, 0.0, 3.0, 0.0, -1.0, -0.0])
    mask = torch.tensor([False, True, True, False, True, True])
    assert flat(drop(weight, mask, 1)) == [False, True, True, False, True, False]
    assert flat(drop(weight, mask, 2)) == [False, False, True, False, True, False]
    assert flat(drop(weight, mask, 3)) == [False, False, True, False, False, False]


def test_a_masked_weight_that_is_not_zero_is_not_kept() -> None:
    assert flat(drop(torch.tensor([9.0, 1.0, 2.0]), torch.tensor([False, True, True]), 1)) == [
        False,
        False,
        True,
    ]


def test_kept_positions_do_not_compete_however_large_their_score() -> None:
    score, kept = torch.tensor([9.0, 0.0, 8.0, 0.0]), torch.tensor([True, False, True, False])
    assert flat(grow(score, kept, 1)) == [True, True, True, False]
    assert flat(grow(score, kept, 2)) == [True, True, True, True]


@pytest.mark.parametrize("function", [drop, grow])
def test_memory_layout_does_not_matter(function) -> None:
    values = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(values.numel()).view(values.shape) % 3 == 0
    expected = function(values, mask, 5)
    for layout in (values, values.to(memory_format=torch.channels_last)):
        assert torch.equal(function(layout, mask, 5), expected)
        assert torch.equal(function(layout, mask.to(memory_format=torch.channels_last), 5), expected)


def test_large_scores_of_low_precision_are_told_apart_from_kept_ones() -> None:
    """jaxpruner adds 1e-5 to the largest score, which a bfloat16 of 1 or a float32 of 256 swallows."""
    score = torch.full((8,), 300.0, dtype=torch.bfloat16)
    kept = torch.tensor([False] * 4 + [True] * 4)
    assert flat(grow(score, kept, 2)) == [True, True, False, False, True, True, True, True]
