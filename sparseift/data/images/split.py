"""Stratified splits of labelled data sets."""

import torch
from torch import Tensor


def stratified_split(targets: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hold out the same fraction of images of every class.

    The numbers are rounded by largest remainder; of equal remainders, the lower class comes first.

    Args:
        targets: Classes, numbered from 0, (N,) int64.
        size: Number of images to hold out, from 0 to N.
        seed: Seed of the choice within each class.

    Returns:
        The indices of the remaining and of the held-out images, in ascending order.
    """
    counts = torch.bincount(targets)
    shares = counts * size // len(targets)
    remainders = counts * size % len(targets)
    shares[remainders.argsort(descending=True, stable=True)[: size - int(shares.sum())]] += 1

    shuffled = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    by_class = shuffled[targets[shuffled].argsort(stable=True)]
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    held_out = torch.arange(len(targets)) - starts < shares.repeat_interleave(counts)
    return by_class[~held_out].sort().values, by_class[held_out].sort().values
