"""Which images make up which batch: a function of (seed, epoch, rank, world size) and of nothing else.

Rank and world size are those of torch.distributed when an epoch starts, so that a sampler may be built before
the process group. The Trainer has to leave samplers alone: `Trainer(use_distributed_sampler=False)`.
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
    """This process's rank and the number of processes; (0, 1) where torch.distributed is not initialised."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class EpochBatches(Sampler[tuple[int, Tensor]]):
    """Shuffled batches: (epoch, int64 (B,) positions in [0, images)); `epoch` and `start` say where to begin.

    The order of an epoch is a permutation seeded by (seed, epoch). W ranks with batches of B cut it into
    global batches of W*B images, of which rank r takes the r-th slice: together they see what one rank with
    batches of W*B sees. The last, incomplete global batch is shared evenly; where W does not divide it, it
    takes its last images (fewer than W) from the beginning of the epoch's order.
    """

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.start = 0

    @property
    def global_batch(self) -> int:
        """Images of one batch over all ranks."""
        return self.batch_size * rank_and_world()[1]

    def __len__(self) -> int:
        """Batches of a whole epoch, the ones before `start` included."""
        return ceil(self.images / self.global_batch)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        rank, world = rank_and_world()
        epoch, step = self.epoch, self.global_batch
        generator = torch.Generator().manual_seed(stable_seed(self.seed, "order", epoch))
        order = torch.randperm(self.images, generator=generator)
        for first in range(self.start * step, self.images, step):
            share = ceil(min(step, self.images - first) / world)
            places = torch.arange(first + rank * share, first + (rank + 1) * share) % self.images
            yield epoch, order[places]


class EvalShard(Sampler[int]):
    """Positions rank, rank + W, rank + 2W, ...: over all ranks every image once, none twice."""

    def __init__(self, images: int) -> None:
        self.images = images

    def _positions(self) -> range:
        rank, world = rank_and_world()
        return range(rank, self.images, world)

    def __len__(self) -> int:
        return len(self._positions())

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions())
