"""N:M and block patterns against loops over groups and blocks."""

from collections.abc import Iterator
from itertools import pairwise, product
from math import ceil, inf, prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseift import Masks, UserError
from sparseift.masks.patterns import Block, NofM, Unstructured
from sparseift.sparsifiers import SET, RigL, Update

from ...sparsifiers.helpers import flat, plan_of, updated

quick = settings(deadline=None, max_examples=60)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9)) | st.tuples(
    st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(1, 2)
)
OPTIONS = {"update_interval": 2, "begin": 0, "end": 1.0, "drop_fraction": 0.6, "anneal": "constant"}
Place = tuple[int, ...]


def n_of(m: int, tolerance: float = 99.0) -> NofM:
    return NofM(m=m, tolerance=tolerance)


def blocks_of(size: int, tolerance: float = 99.0) -> Block:
    return Block(size=size, tolerance=tolerance)


def groups(shape: Place, m: int) -> Iterator[list[Place]]:
    """Places of m consecutive inputs, at one output and one place of the kernel."""
    outputs, inputs, *kernel = shape
    for out in range(outputs):
        for at in product(*map(range, kernel)):
            for first in range(0, inputs, m):
                yield [(out, i, *at) for i in range(first, min(first + m, inputs))]


def blocks(shape: Place, size: int) -> Iterator[list[Place]]:
    outputs, inputs, *kernel = shape
    for top in range(0, outputs, size):
        for left in range(0, inputs, size):
            rows, columns = range(top, min(top + size, outputs)), range(left, min(left + size, inputs))
            yield list(product(rows, columns, *map(range, kernel)))


def extent(block: list[Place]) -> tuple[int, int]:
    """Rows and columns of a block."""
    return len({place[0] for place in block}), len({place[1] for place in block})


def scores_of(shape: Place, seed: int) -> Tensor:
    """With ties."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


# N:M


@quick
@given(shapes, st.integers(2, 6), st.data())
def test_every_group_has_its_n_largest(shape: Place, m: int, data: st.DataObject) -> None:
    n, pattern = data.draw(st.integers(1, m)), n_of(m)
    scores = scores_of(shape, data.draw(st.integers(0, 99)))
    expected = torch.zeros(shape, dtype=torch.bool)
    for group in groups(shape, m):
        for place in sorted(group, key=lambda place: -scores[place].item())[:n]:
            expected[place] = True
    count = pattern.count(shape, n)
    assert count == int(expected.sum())
    mask = pattern.largest(scores, count)
    assert mask.dtype == torch.bool and torch.equal(mask, expected)


@quick
@given(shapes, st.integers(2, 6), st.data())
def test_groups_grow_what_they_lost(shape: Place, m: int, data: st.DataObject) -> None:
    n, pattern, seed = data.draw(st.integers(1, m)), n_of(m), data.draw(st.integers(0, 99))
    old = pattern.largest(scores_of(shape, seed), pattern.count(shape, n))
    kept = old & (scores_of(shape, seed + 1) > -1)
    score = scores_of(shape, seed + 2)
    expected = kept.clone()
    for group in groups(shape, m):
        lost = sum(bool(old[place]) - bool(kept[place]) for place in group)
        rest = [place for place in group if not kept[place]]
        for place in sorted(rest, key=lambda place: -score[place].item())[:lost]:
            expected[place] = True
    assert torch.equal(pattern.refill(score, kept, old, int((old & ~kept).sum()), shape), expected)


# Blocks


@quick
@given(shapes, st.integers(1, 4), st.data())
def test_whole_blocks_of_the_largest_mean(shape: Place, size: int, data: st.DataObject) -> None:
    pattern, seed = blocks_of(size), data.draw(st.integers(0, 99))
    every = list(blocks(shape, size))
    assert pattern.levels(shape) == len(every)
    counts = [pattern.count(shape, level) for level in range(1, len(every) + 1)]
    assert counts == sorted(set(counts)) and counts[-1] == prod(shape), "every level has more weights"
    level = data.draw(st.integers(1, len(every)))
    scores = scores_of(shape, seed)
    mask = pattern.largest(scores, counts[level - 1])
    assert mask.shape == shape and int(mask.sum()) == counts[level - 1]
    chosen: dict[tuple[int, int], list[tuple[float, bool]]] = {}
    for block in every:
        values = {bool(mask[place]) for place in block}
        assert len(values) == 1, "a block is active or masked as a whole"
        chosen.setdefault(extent(block), []).append((sum(scores[p].item() for p in block), values.pop()))
    assert sum(on for same in chosen.values() for _, on in same) == level
    for same in chosen.values():
        assert max((s for s, on in same if not on), default=-inf) <= min((s for s, on in same if on), default=inf)
        share = level * len(same) / len(every)
        assert abs(sum(on for _, on in same) - share) < 1.5, "sizes share the blocks evenly"


@quick
@given(shapes, st.integers(1, 4), st.data())
def test_blocks_give_way_to_blocks_of_their_size(shape: Place, size: int, data: st.DataObject) -> None:
    pattern, seed = blocks_of(size), data.draw(st.integers(0, 99))
    every = list(blocks(shape, size))
    level = data.draw(st.integers(1, len(every)))
    old = pattern.largest(scores_of(shape, seed), pattern.count(shape, level))
    gone = torch.rand(len(every), generator=torch.Generator().manual_seed(seed)) < 0.4
    kept = old.clone()
    for block, is_gone in zip(every, gone.tolist(), strict=True):
        for place in block:
            kept[place] &= not is_gone
    score = scores_of(shape, seed + 2)
    expected = kept.clone()
    for size_of in {extent(block) for block in every}:
        same = [block for block in every if extent(block) == size_of]
        lost = sum(bool(old[block[0]]) - bool(kept[block[0]]) for block in same)
        rest = [block for block in same if not kept[block[0]]]
        for block in sorted(rest, key=lambda block: -sum(score[place].item() for place in block))[:lost]:
            for place in block:
                expected[place] = True
    pool = pattern.pool
    stay, before = pool(kept.float()).bool(), pool(old.float()).bool()
    units = pattern.refill(pool(score), stay, before, int((before & ~stay).sum()), shape)
    assert torch.equal(pattern.weight_mask(units, shape), expected)


# The plan


def net_of(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Conv2d(a, b, 3, bias=False) for a, b in pairwise(widths)))


@pytest.mark.parametrize("price", [None, {"0": 50, "1": 18, "2": 2}], ids=["parameters", "flops"])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
@pytest.mark.parametrize("pattern", [n_of(4), n_of(7), blocks_of(2), blocks_of(3)], ids=str)
def test_the_plan_is_the_nearest_of_all_roundings(pattern, share: float, price: dict[str, int] | None) -> None:
    net = net_of(5, 8, 12, 6)
    plan = plan_of(net, {n: int(share * net.get_submodule(n).weight.numel()) for n in "012"}, price)
    near, wanted = [], 0
    for name, layer in plan.masked.items():
        cost = price[name] if price else 1
        wanted += cost * layer.active
        counts = [pattern.count(layer.shape, level) for level in range(1, pattern.levels(layer.shape) + 1)]
        level = layer.active / layer.numel * pattern.levels(layer.shape)
        near.append([cost * counts[max(1, index) - 1] for index in (int(level), ceil(level))])
    best = min(abs(sum(choice) - wanted) for choice in product(*near))
    rounded = pattern.plan(plan)
    assert abs(sum((price[n] if price else 1) * layer.active for n, layer in rounded.masked.items()) - wanted) == best
    masks = Masks.random(net, rounded, 0, pattern)
    assert masks.active == {name: layer.active for name, layer in rounded.masked.items()}
    assert (rounded.budget, rounded.params_stored) == (plan.budget, plan.params_stored)


def test_layers_that_are_not_masked_stay_as_they_are() -> None:
    net = net_of(4, 4, 4)
    plan = plan_of(net, {"0": 72})
    assert n_of(4).plan(plan).layers[0].active == 72
    assert Unstructured().plan(plan) is plan


def test_a_plan_that_the_pattern_cannot_come_near_is_refused() -> None:
    net = net_of(8, 8)
    plan = plan_of(net, {"0": 60})  # of 576: 1 of 4 is 144
    with pytest.raises(UserError, match=r"140.0% more.*tolerance=1.4") as error:
        n_of(4, tolerance=0.02).plan(plan)
    assert "\n" not in str(error.value)
    assert n_of(4, tolerance=1.4).plan(plan).masked["0"].active == 144
    assert n_of(8, tolerance=0.21).plan(plan).masked["0"].active == 72


def test_masks_of_a_plan_that_was_not_rounded_are_refused() -> None:
    net = net_of(8, 8)
    for pattern in (n_of(4), blocks_of(4)):
        with pytest.raises(UserError, match="60 active weights of 576 do not fit"):
            Masks.random(net, plan_of(net, {"0": 60}), 0, pattern)


@pytest.mark.parametrize(
    "make",
    [
        lambda: n_of(1), lambda: n_of(2.5), lambda: blocks_of(0), lambda: n_of(4, tolerance=-0.1),
        lambda: n_of(4, tolerance=float("nan")), lambda: blocks_of("large"),
    ],
)  # fmt: skip
def test_mistakes(make) -> None:
    with pytest.raises(UserError, match=r"pattern\.(m|size|tolerance) is"):
        make()


# Drop and grow


def update_by_hand(weight: Tensor, gradient: Tensor, old: Tensor, units: list[list[Place]], strata, fraction: float):
    """Whole units: the smallest active ones of the layer go, and each stratum grows as many as it lost."""
    active = [unit for unit in units if old[unit[0]]]
    mean = {id(unit): sum(weight[p].abs().item() for p in unit) / len(unit) for unit in units}
    stay = sorted(active, key=lambda unit: -mean[id(unit)])[: len(active) - int(fraction * len(active))]
    new = torch.zeros_like(old)
    for unit in stay:
        for place in unit:
            new[place] = True
    for stratum in strata(units):
        lost = sum(bool(old[unit[0]]) - bool(new[unit[0]]) for unit in stratum)
        rest = [unit for unit in stratum if not new[unit[0]]]
        key = {id(u): sum(gradient[p].abs().item() for p in u) / len(u) for u in rest}
        for unit in sorted(rest, key=lambda unit: -key[id(unit)])[:lost]:
            for place in unit:
                new[place] = True
    return new


def singles(shape: Place) -> list[list[Place]]:
    return [[place] for place in product(*map(range, shape))]


def by_group(m: int):
    def strata(units: list[list[Place]]):
        table: dict[tuple, list] = {}
        for unit in units:
            out, inner, *kernel = unit[0]
            table.setdefault((out, inner // m, *kernel), []).append(unit)
        return table.values()

    return strata


def by_size(units: list[list[Place]]):
    return [[unit for unit in units if extent(unit) == size] for size in {extent(unit) for unit in units}]


@pytest.mark.parametrize("kind", [RigL, SET])
@pytest.mark.parametrize("pattern", [n_of(4), n_of(3), blocks_of(2), blocks_of(3), Unstructured()], ids=str)
def test_training_keeps_the_pattern_and_updates_as_simulated(pattern, kind) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 7, 3), nn.ReLU(), nn.Conv2d(7, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Flatten())
    plan = pattern.plan(plan_of(net, {"2": 200, "4": 13}))
    masks = Masks.random(net, plan, 0, pattern)
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    sparsifier = kind(**OPTIONS)
    images, labels = torch.randn(8, 2, 5, 5), torch.randint(4, (8,))
    moved = 0
    for step in range(1, 13):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        if sparsifier.due(step, 13):
            expected = {}
            for name, weight in masks.weights.items():
                shape = tuple(weight.shape)
                units = list(blocks(shape, pattern.size)) if isinstance(pattern, Block) else singles(shape)
                strata = by_group(pattern.m) if isinstance(pattern, NofM) else by_size
                if kind is RigL:
                    expected[name] = update_by_hand(weight, weight.grad, masks[name], units, strata, 0.6)
            old = {name: masks[name] for name in masks}
            gone = updated(sparsifier, masks, [optimizer], Update(step, 13, 0))
            assert gone == sum(int((old[name] & ~masks[name]).sum()) for name in masks)
            moved += gone
            assert all(flat(masks[name]) == flat(mask) for name, mask in expected.items()), step
        masks.mask_gradients()
        optimizer.step()
        for name, weight in masks.weights.items():
            mask, shape = masks[name], tuple(weight.shape)
            assert masks.active[name] == plan.masked[name].active
            assert not weight[~mask].any()
            if isinstance(pattern, NofM):
                n = pattern.level(shape, masks.active[name])
                for group in groups(shape, pattern.m):
                    assert sum(bool(mask[place]) for place in group) == min(n, len(group))
            if isinstance(pattern, Block):
                assert all(len({bool(mask[place]) for place in block}) == 1 for block in blocks(shape, pattern.size))
    assert moved > 0
