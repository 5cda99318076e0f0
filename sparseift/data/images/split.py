"""Hold images out of a labelled set."""

import torch
from torch import Tensor


def stratified_split(targets: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(kept, held out): ascending indices into `targets`; `size` of them held out, each class in its share.

    Shares are rounded by largest remainder (of equal ones the lower class), so each is within one image of
    exact.

    Args:
        targets: (N,) int64 classes from 0.
        size: from 0 to N.
        seed: of the draw within each class.
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
