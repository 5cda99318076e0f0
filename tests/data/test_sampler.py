"""The order of training images against its definition, for any number of ranks."""

from collections import Counter
from itertools import chain
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from sparseift.common.seeds import stable_seed
from sparseift.data import sampler
from sparseift.data.sampler import EpochBatches, EvalShard

SIZES = {"images": st.integers(1, 60), "batch": st.integers(1, 9), "world": st.integers(1, 5)}


def indices(images: int, batch: int, *, rank: int = 0, world: int = 1, epoch: int = 0, start: int = 0):
    batches = EpochBatches(images, batch, seed=3)
    batches.epoch, batches.start = epoch, start
    with patch.object(sampler, "rank_and_world", lambda: (rank, world)):
        found = list(batches)
        assert len(batches) == len(found) + start
    assert all(of_epoch == epoch for of_epoch, _ in found)
    return [positions.tolist() for _, positions in found]


@given(images=SIZES["images"], batch=SIZES["batch"], epoch=st.integers(0, 5))
def test_one_rank_sees_every_image_once_in_full_batches(images: int, batch: int, epoch: int) -> None:
    batches = indices(images, batch, epoch=epoch)
    assert sorted(chain(*batches)) == list(range(images))
    assert all(len(b) == batch for b in batches[:-1])


@given(**SIZES)
def test_ranks_see_together_what_one_rank_with_the_global_batch_sees(images: int, batch: int, world: int) -> None:
    alone = indices(images, batch * world)
    ranks = [indices(images, batch, rank=rank, world=world) for rank in range(world)]
    together = [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert together[:-1] == alone[:-1]

    assert len({len(parts[-1]) for parts in ranks}) == 1
    assert together[-1][: len(alone[-1])] == alone[-1]
    order, wrapped = list(chain(*alone)), together[-1][len(alone[-1]) :]
    assert len(wrapped) < world
    assert wrapped == [order[i % images] for i in range(len(wrapped))]


@given(**SIZES, start=st.integers(0, 10))
def test_start_leaves_out_the_batches_before_it(images: int, batch: int, world: int, start: int) -> None:
    whole = indices(images, batch, rank=world - 1, world=world)
    start = min(start, len(whole))
    assert indices(images, batch, rank=world - 1, world=world, start=start) == whole[start:]


@given(images=SIZES["images"], world=SIZES["world"])
def test_evaluation_shards_are_a_partition(images: int, world: int) -> None:
    seen: Counter[int] = Counter()
    for rank in range(world):
        with patch.object(sampler, "rank_and_world", lambda rank=rank: (rank, world)):
            shard = EvalShard(images)
            assert len(list(shard)) == len(shard)
            seen.update(shard)
    assert seen == Counter(range(images))


def test_rank_is_read_when_an_epoch_starts(as_rank) -> None:
    batches, shard = EpochBatches(10, 2, seed=0), EvalShard(10)
    assert len(batches) == 5
    as_rank(1, 2)
    assert len(batches) == 3
    assert list(shard) == [1, 3, 5, 7, 9]


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(indices(50, 50, epoch=epoch)[0]) for epoch in range(20)}
    assert len(orders) == 20
    assert next(iter(EpochBatches(50, 50, seed=4)))[1].tolist() not in map(list, orders)


def test_seed_is_the_same_in_every_process_and_release() -> None:
    assert stable_seed(0, "order", 1) == 7_021_862_330_116_196_507
    assert stable_seed(0, "order", 1) != stable_seed(0, "order", 11) != stable_seed(0, "orde", "r1")
