"""Samplers, which depend on (seed, epoch, rank, world size) alone.

They read rank and world size when an epoch starts, so they can be built before the process group. The Trainer must not
replace them: `Trainer(use_distributed_sampler=False)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from ..common.seeds import stable_seed


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of ranks; (0, 1) if torch.distributed is not initialized."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class EpochBatches(Sampler[tuple[int, Tensor]]):
    """Yields shuffled batches: the epoch, and positions in [0, samples), int64 (B,).

    The order of an epoch is a permutation seeded by (seed, epoch). It is divided into global batches of W*B samples for
    W ranks with batches of B. Rank r takes the r-th slice of each, so W ranks see the same global batches as one rank
    with batches of W*B. The last global batch may be smaller. If W does not divide it, samples from the beginning of
    the order complete it.

    Args:
        samples: Number of samples.
        batch_size: Samples per batch and rank.
        seed: Seed of the order.

    Attributes:
        epoch: Epoch of the next iterator.
        start: Number of batches that the next iterator skips.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    @property
    def global_batch(self) -> int:
        """Samples per batch over all ranks."""
        return self.batch_size * rank_and_world()[1]

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, including those before `start`."""
        return ceil(self.samples / self.global_batch)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        rank, world = rank_and_world()
        epoch, step = self.epoch, self.global_batch
        generator = torch.Generator().manual_seed(stable_seed(self.seed, "order", epoch))
        order = torch.randperm(self.samples, generator=generator)
        for first in range(self.start * step, self.samples, step):
            share = ceil(min(step, self.samples - first) / world)
            own = torch.arange(first + rank * share, first + (rank + 1) * share) % self.samples
            yield epoch, order[own]


class EvalShard(Sampler[int]):
    """Yields positions rank, rank + W, rank + 2W, ... on each of W ranks: every sample exactly once."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def _positions(self) -> range:
        rank, world = rank_and_world()
        return range(rank, self.samples, world)

    def __len__(self) -> int:
        return len(self._positions())

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions())
