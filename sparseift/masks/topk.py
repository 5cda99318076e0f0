"""The largest of many numbers, exactly: what drop, grow and first masks all come down to."""

from __future__ import annotations

from math import ceil, floor, sqrt

import torch
from torch import Tensor

SAMPLE = 2**14
"""Numbers that are looked at to guess where the threshold lies."""


def largest(values: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """A boolean tensor that marks exactly the `count` largest; of equal values the first. NaN is least. among: boolean,
    of the shape of `values`: the places that take part, all by default.

    A sample brackets the threshold, so that two comparisons decide about nearly all values and only the few within the
    bracket are ranked (after Floyd & Rivest, "Expected time bounds for selection", 1975).
    """
    flat = values.flatten()
    part = torch.ones_like(flat, dtype=torch.bool) if among is None else among.flatten()
    total = int(part.count_nonzero())
    if count <= 0 or count >= total:
        return (part & (count > 0)).view(values.shape)
    lower, upper = _bracket(flat, part, count / total)
    chosen = (flat > upper).logical_and_(part)
    near = (flat >= lower).logical_and_(part).logical_xor_(chosen)
    places = near.nonzero().squeeze(1)
    missing = count - int(chosen.count_nonzero())
    if not 0 <= missing <= places.numel():  # the sample misled, or NaN is among the largest
        chosen.zero_()
        places, missing = part.nonzero().squeeze(1), count
    chosen[places[_first_largest(flat.take(places), missing)]] = True
    return chosen.view(values.shape)


def _bracket(flat: Tensor, part: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Bounds between which the threshold lies that has this share of the values above it, nearly always."""
    step = flat.numel() // SAMPLE // 6 * 6 + 1  # has no factor in common with the sizes of most kernels and channels
    sample = _ordered(flat[::step][part[::step]])
    rank, margin = share * sample.numel(), 4 * sqrt(share * (1 - share) * sample.numel()) + 1
    first, last = floor(rank - margin), ceil(rank + margin)
    upper = sample.kthvalue(sample.numel() - first + 1).values if first >= 1 else flat.new_tensor(torch.inf)
    lower = sample.kthvalue(sample.numel() - last + 1).values if last <= sample.numel() else flat.new_tensor(-torch.inf)
    return lower, upper


def _first_largest(values: Tensor, count: int) -> Tensor:
    """Marks the `count` largest, by looking at them all."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    values = _ordered(values)
    threshold = values.kthvalue(values.numel() - count + 1).values
    chosen = values > threshold
    ties = (values == threshold).nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.count_nonzero())]] = True
    return chosen


def _ordered(values: Tensor) -> Tensor:
    """With NaN, which torch takes for the largest, at the end."""
    return values.nan_to_num(-torch.inf, torch.inf, -torch.inf)


def drop(weight: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mask without the `count` active weights of smallest magnitude. Masked positions take no part."""
    return largest(weight.detach().abs(), int(mask.count_nonzero()) - count, among=mask)


def grow(score: Tensor, kept: Tensor, count: int) -> Tensor:
    """The mask `kept` with the `count` positions of largest score outside it. Kept positions do not compete; there
    must be at least `count` others."""
    return largest(score, count, among=~kept).logical_or_(kept)
