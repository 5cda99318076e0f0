"""Exact selection of the largest values."""

from __future__ import annotations

from math import ceil, floor, sqrt

import torch
from torch import Tensor

SAMPLE = 2**14
"""Approximate size of the sample from which the threshold is estimated."""


def largest(values: Tensor, count: int, among: Tensor | None = None) -> Tensor:
    """Return a mask of exactly the `count` largest values; of equal values the first. NaN counts as the smallest.

    All ways to find them give the same mask. Those of accelerators do not wait for the device, and are deterministic.

    Args:
        values: Numbers, of any shape.
        count: Number of values to choose.
        among: Boolean mask of the values to choose from, of the shape of `values`; all by default.

    Returns:
        A boolean tensor of the shape of `values`.
    """
    flat = values.flatten()
    part = torch.ones_like(flat, dtype=torch.bool) if among is None else among.flatten()
    select = by_sample if values.is_cpu else by_threshold
    return select(flat, count, part).view(values.shape)


def by_threshold(flat: Tensor, count: int, part: Tensor) -> Tensor:
    """Implement `largest` with one top-k, without a wait of the host.

    Args:
        flat: Numbers, (N,).
        count: See `largest`.
        part: Mask of the values to choose from, (N,).
    """
    if count <= 0:
        return torch.zeros_like(part)
    ranked = _ordered(flat).masked_fill_(~part, -torch.inf)
    threshold = ranked.topk(min(count, flat.numel()), sorted=False).values.min()
    chosen = ranked > threshold
    ties = (ranked == threshold).logical_and_(part)
    return chosen.logical_or_(ties.logical_and_(ties.cumsum(0) <= count - chosen.count_nonzero()))


def by_sample(flat: Tensor, count: int, part: Tensor) -> Tensor:
    """Implement `largest` on a CPU, with the arguments of `by_threshold`.

    A sample gives bounds of the threshold. Only the values between the bounds are ranked (after Floyd & Rivest,
    "Expected time bounds for selection", 1975).
    """
    total = int(part.count_nonzero())
    if count <= 0 or count >= total:
        return part & (count > 0)
    lower, upper = _bracket(flat, part, count / total)
    chosen = (flat > upper).logical_and_(part)
    near = (flat >= lower).logical_and_(part).logical_xor_(chosen)
    places = near.nonzero().squeeze(1)
    missing = count - int(chosen.count_nonzero())
    if not 0 <= missing <= places.numel():  # the sample was not representative, or NaN is among the largest
        chosen.zero_()
        places, missing = part.nonzero().squeeze(1), count
    chosen[places[_first_largest(flat.take(places), missing)]] = True
    return chosen


def _bracket(flat: Tensor, part: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Bounds that nearly always enclose the threshold above which this fraction of the values lies."""
    step = flat.numel() // SAMPLE // 6 * 6 + 1  # coprime to most numbers of channels and kernel sizes
    sample = _ordered(flat[::step][part[::step]])
    rank, margin = share * sample.numel(), 4 * sqrt(share * (1 - share) * sample.numel()) + 1
    first, last = floor(rank - margin), ceil(rank + margin)
    upper = sample.kthvalue(sample.numel() - first + 1).values if first >= 1 else flat.new_tensor(torch.inf)
    lower = sample.kthvalue(sample.numel() - last + 1).values if last <= sample.numel() else flat.new_tensor(-torch.inf)
    return lower, upper


def _first_largest(values: Tensor, count: int) -> Tensor:
    """Mask of the `count` largest values, by a ranking of all values."""
    if count == 0:
        return torch.zeros_like(values, dtype=torch.bool)
    values = _ordered(values)
    threshold = values.kthvalue(values.numel() - count + 1).values
    chosen = values > threshold
    ties = (values == threshold).nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.count_nonzero())]] = True
    return chosen


def _ordered(values: Tensor) -> Tensor:
    """The values with NaN, which torch sorts above all numbers, as the smallest."""
    return values.nan_to_num(-torch.inf, torch.inf, -torch.inf)


def grow(score: Tensor, kept: Tensor, count: int) -> Tensor:
    """Return the mask `kept` with `count` more active positions, those of the largest scores."""
    return largest(score, count, among=~kept).logical_or_(kept)
