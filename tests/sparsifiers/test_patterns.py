"""Any sparsifier under any pattern: masks follow it from the start and after every update, and end with its counts."""

from collections.abc import Callable
from itertools import product
from math import prod

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sparseift import Masks, Plan
from sparseift.masks.patterns import Block, NofM, Pattern, Structured, Unstructured
from sparseift.sparsifiers import (
    FORCE,
    GMP,
    SET,
    SNIP,
    DenseWarmup,
    GraNet,
    GraSP,
    Probe,
    RigL,
    Sparsifier,
    Static,
    SynFlow,
    Update,
)  # fmt: skip
from sparseift.tasks import Classification

from .helpers import plan_of

TOTAL = 10
MOVING = {"update_interval": 2, "begin": 0, "end": 1.0, "drop_fraction": 0.5, "anneal": "constant"}
PRUNING = {"update_interval": 2, "begin": 0.0, "end": 0.8}
SPARSIFIERS: dict[str, Callable[[], Sparsifier]] = {
    "static": Static,
    "set": lambda: SET(**MOVING),
    "rigl": lambda: RigL(**MOVING),
    "gmp": lambda: GMP(**PRUNING, initial_density=1.0),
    "gmp that starts sparse": lambda: GMP(**PRUNING, initial_density=0.99),
    "granet": lambda: GraNet(**MOVING, initial_density=1.0, prune_end=0.6),
    "dense_warmup": lambda: DenseWarmup(0.3, RigL(**MOVING)),
    "snip": lambda: SNIP(batches=1),
    "grasp": lambda: GraSP(batches=1, temperature=2.0),
    "synflow": lambda: SynFlow(iterations=3),
    "force": lambda: FORCE(batches=1, iterations=3),
}
PRUNES_AT_START = {"snip", "grasp", "synflow", "force"}

patterns = st.one_of(
    st.just(Unstructured()),
    st.integers(2, 6).map(lambda m: NofM(m=m, tolerance=99.0)),
    st.integers(1, 4).map(lambda size: Block(size=size, tolerance=99.0)),
)
networks = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(2, 9), st.integers(1, 3))


def network(a: int, b: int, c: int, kernel: int) -> nn.Sequential:
    """Layer '0' is a convolution, '2' a convolution of another kernel, '6' linear; the last one is not masked."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(a, b, kernel, padding=1), nn.Tanh(), nn.Conv2d(b, c, (1, 2)), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, b), nn.Tanh(), nn.Linear(b, 3))


def assert_followed(masks: Masks) -> None:
    for name, weight in masks.weights.items():
        mask, shape, pattern = masks[name], tuple(weight.shape), masks.pattern
        assert masks.active[name] == int(mask.sum())
        if isinstance(pattern, NofM):
            groups = mask.split(pattern.m, dim=1)
            n = max(int(group.sum(1).max()) for group in groups)
            assert all((group.sum(1) == min(n, group.shape[1])).all() for group in groups)
        if isinstance(pattern, Block):
            size = pattern.size
            for top, left in product(range(0, shape[0], size), range(0, shape[1], size)):
                assert len(mask[top : top + size, left : left + size].unique()) == 1, "a block is active as a whole"
        if isinstance(pattern, Structured):
            assert pattern.level(shape, masks.active[name])


def cost(plan: Plan, active: dict[str, int]) -> int:
    return sum(layer.flops_per_weight * active[name] for name, layer in plan.masked.items())


@pytest.mark.parametrize("choice", SPARSIFIERS)
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(networks, patterns, st.floats(0.1, 0.9), st.booleans())
def test_masks_follow_the_pattern(
    choice: str, widths: tuple[int, int, int, int], pattern: Pattern, density: float, by_flops: bool
) -> None:
    net, sparsifier = network(*widths), SPARSIFIERS[choice]()
    active = {name: max(1, int(density * net.get_submodule(name).weight.numel())) for name in ("0", "2", "6")}
    plan = pattern.plan(plan_of(net, active, {"0": 50, "2": 18, "6": 2} if by_flops else None))
    if "gmp that" in choice and plan.density > 0.99:
        return
    sparsifier.accept(plan)
    masks = Masks.random(net, plan, 0, pattern)
    planned = {name: layer.active for name, layer in plan.masked.items()}
    assert masks.active == masks.planned == planned
    assert_followed(masks)
    samples = torch.randn(8, widths[0], 5, 5), torch.randint(3, (8,))
    probe = Probe(net, masks.weights, [samples], Classification(3, widths[0], 5, 0.0)) if sparsifier.batches else None
    sparsifier.start(masks, plan, 0, probe)
    assert_followed(masks)
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for step in range(1, TOTAL + 1):
        optimizer.zero_grad()
        F.cross_entropy(net(samples[0]), samples[1]).backward()
        if sparsifier.due(step, TOTAL):
            old = {name: masks[name] for name in masks}
            sparsifier.update(masks, [optimizer], Update(step, TOTAL, 0))
            assert_followed(masks)
            for name in masks:
                assert masks.active[name] >= planned[name], "never below the plan"
                if choice.startswith("gmp"):
                    assert not (masks[name] & ~old[name]).any(), "pruned weights do not come back"
                if choice in ("set", "rigl"):
                    assert masks.active[name] == planned[name]
        masks.mask_gradients()
        optimizer.step()
        assert not any(weight[~masks[name]].any() for name, weight in masks.weights.items())
    assert masks.planned == planned
    if choice not in PRUNES_AT_START:
        assert masks.active == planned
    elif isinstance(pattern, Unstructured):
        price = cost(plan, masks.active) if by_flops else sum(masks.active.values())
        assert price <= (cost(plan, planned) if by_flops else sum(planned.values()))


shapes = st.tuples(st.integers(1, 11), st.integers(1, 11)) | st.tuples(
    st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)
)


@settings(deadline=None, max_examples=150)
@given(shapes, patterns.filter(lambda pattern: isinstance(pattern, Structured)), st.data())
def test_prunings_take_the_nearest_count_that_leads_to_the_plan(
    shape: tuple[int, ...], pattern: Structured, data: st.DataObject
) -> None:
    least, active = pattern.count(shape, data.draw(st.integers(1, pattern.levels(shape)))), prod(shape)
    low, high = (pattern.level(shape, count) for count in (least, active))  # other levels may have the same counts
    scores: Tensor = torch.rand(shape, generator=torch.Generator().manual_seed(low))
    mask = torch.ones(shape, dtype=torch.bool)
    for wanted in sorted(data.draw(st.lists(st.integers(least, active), max_size=4)), reverse=True):
        count = pattern.nearest(shape, min(wanted, active), least, active)
        bounds = [pattern.parts(shape, level) for level in (low, high)]
        possible = [
            pattern.count(shape, level)
            for level in range(low, high + 1)
            if all(a <= part <= b for a, part, b in zip(bounds[0], pattern.parts(shape, level), bounds[1], strict=True))
        ]
        assert count in possible and abs(count - wanted) == min(abs(one - wanted) for one in possible)
        new = pattern.largest(scores, count, among=mask)
        assert int(new.sum()) == count and not (new & ~mask).any()
        mask, active, high = new, count, pattern.level(shape, count)
    assert pattern.nearest(shape, least, least, active) == least
    end = pattern.largest(scores, least, among=mask)
    assert int(end.sum()) == least and not (end & ~mask).any()
