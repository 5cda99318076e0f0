"""A split of a labelled data set, class by class."""

import torch
from torch import Tensor


def stratified_split(targets: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Hold out `size` images, the same share of every class.

    Shares are rounded by largest remainder (of equal remainders, the lower class comes first), so each is within one
    image of the exact share.

    Args:
        targets: Classes from 0, (N,) int64.
        size: From 0 to N.
        seed: Of the draw within each class.

    Returns:
        The indices that are kept and the indices that are held out, both ascending.
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
