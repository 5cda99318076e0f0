"""Which samples make up which batch: a function of (seed, epoch, rank, world size) alone.

Rank and world size are those of torch.distributed when an epoch starts, so a sampler may be built before the process
group. The Trainer must not replace samplers: `Trainer(use_distributed_sampler=False)`.
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
    """Shuffled batches: (epoch, int64 (B,) positions in [0, samples)).

    The order of an epoch is a permutation seeded by (seed, epoch). W ranks with batches of B cut it into global batches
    of W*B samples, of which rank r takes the r-th slice: together the ranks see what one rank with batches of W*B sees.
    The last, incomplete global batch is divided evenly. Where W does not divide it, fewer than W samples from the
    beginning of the epoch's order complete it.

    Args:
        samples: Their number.
        batch_size: Samples of one rank in one batch.

    Attributes:
        epoch: The epoch that the next iterator yields.
        start: The number of batches that it leaves out at the beginning.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    @property
    def global_batch(self) -> int:
        """Samples of one batch over all ranks."""
        return self.batch_size * rank_and_world()[1]

    def __len__(self) -> int:
        """Batches of a whole epoch, those before `start` included."""
        return ceil(self.samples / self.global_batch)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        rank, world = rank_and_world()
        epoch, step = self.epoch, self.global_batch
        generator = torch.Generator().manual_seed(stable_seed(self.seed, "order", epoch))
        order = torch.randperm(self.samples, generator=generator)
        for first in range(self.start * step, self.samples, step):
            share = ceil(min(step, self.samples - first) / world)
            places = torch.arange(first + rank * share, first + (rank + 1) * share) % self.samples
            yield epoch, order[places]


class EvalShard(Sampler[int]):
    """Positions rank, rank + W, rank + 2W, ...: the W ranks together take every sample exactly once."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def _positions(self) -> range:
        rank, world = rank_and_world()
        return range(rank, self.samples, world)

    def __len__(self) -> int:
        return len(self._positions())

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions())
