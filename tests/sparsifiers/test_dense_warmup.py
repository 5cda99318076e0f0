"""Dense warm-up: dense until one pruning by magnitude, from then on the sparsifier that it was given."""

import pytest
import torch
import torch.nn.functional as F

from sparseift import Masks, UserError
from sparseift.masks.patterns import NofM
from sparseift.sparsifiers import GMP, SET, SNIP, DenseWarmup, GraNet, RigL, Static, Update

from .helpers import flat, mlp, plan_of, pruned, updated

ACTIVE = {"0": 7, "2": 12, "4": 9}
RIGL = {"update_interval": 3, "begin": 0, "end": 0.9, "drop_fraction": 0.4, "anneal": "cosine"}
TOTAL = 20


def test_dense_then_pruned_then_rigl() -> None:
    """Compared with RigL alone on a network that is pruned by hand at the same step."""
    nets = [mlp(4, 6, 8, 4), mlp(4, 6, 8, 4)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in nets]
    images, labels = torch.randn(16, 4), torch.randint(4, (16,))
    masks = Masks.random(nets[0], plan_of(nets[0], ACTIVE), 0)
    warm, rigl = DenseWarmup(until=0.4, then=RigL(**RIGL)), RigL(**RIGL)
    warm.start(masks, None, seed=0)
    assert masks.density == 1 and masks.planned == ACTIVE
    twins, moved = None, 0
    for step in range(1, TOTAL + 1):
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
        assert warm.due(step, TOTAL) == (step == 8 or (step > 8 and rigl.due(step, TOTAL)))
        assert warm.fraction(step, TOTAL) == (rigl.fraction(step, TOTAL) if step > 8 else 0)
        if warm.due(step, TOTAL):
            warm.update(masks, [optimizers[0]], Update(step, TOTAL, 5))
        masks.mask_gradients()
        if step == 8:
            kept = {}
            for name in ACTIVE:
                weight = nets[1].get_submodule(name).weight
                on = pruned(flat(weight), [True] * weight.numel(), ACTIVE[name])
                kept[name] = torch.tensor(on).view(weight.shape)
                for tensor in (weight.data, weight.grad, optimizers[1].state[weight]["momentum_buffer"]):
                    tensor.mul_(kept[name])
            twins = Masks(nets[1], kept)
        elif twins and rigl.due(step, TOTAL):
            moved += updated(rigl, twins, [optimizers[1]], Update(step, TOTAL, 5))
        if twins:
            twins.mask_gradients()
            assert masks.sha256() == twins.sha256() and masks.active == ACTIVE
        for optimizer in optimizers:
            optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    assert moved > 0


def test_it_prunes_to_the_pattern() -> None:
    pattern = NofM(m=4, tolerance=1.0)
    warm = DenseWarmup(until=0.5, then=RigL(**RIGL))
    net = mlp(8, 8, 8)
    plan = pattern.plan(plan_of(net, {"0": 30, "2": 17}))
    masks = Masks.random(net, plan, 0, pattern)
    warm.start(masks, plan, seed=0)
    warm.update(masks, [], Update(10, TOTAL, 0))
    assert masks.active == masks.planned == {"0": 32, "2": 16}
    for name, weight in masks.weights.items():
        for group, mask in zip(weight.view(-1, 4), masks[name].view(-1, 4), strict=True):
            assert int(mask.sum()) == masks.active[name] // 16
            assert group[mask].abs().min() > 0 and not group[~mask].any()


def test_growing_by_gradients_is_told() -> None:
    assert DenseWarmup(until=0.5, then=RigL(**RIGL)).dense_gradient
    assert not DenseWarmup(until=0.5, then=SET(**RIGL)).dense_gradient


@pytest.mark.parametrize("total", [1, 2])
def test_short_runs_end_as_planned(total: int) -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.random(net, plan_of(net, ACTIVE), 0)
    warm = DenseWarmup(until=0.1, then=Static())
    warm.start(masks, None, seed=0)
    assert [step for step in range(1, total + 1) if warm.due(step, total)] == [1]
    warm.update(masks, [], Update(1, total, 0))
    assert masks.active == ACTIVE


@pytest.mark.parametrize("until", [0, 1.5, "long"])
def test_mistakes(until: object) -> None:
    with pytest.raises(UserError, match=r"sparsifier\.until"):
        DenseWarmup(until=until, then=Static())


@pytest.mark.parametrize(
    "then",
    [SNIP(1), GMP(3, 0, 0.5, 1.0), GraNet(**RIGL, initial_density=1.0, prune_end=0.5), DenseWarmup(0.5, Static())],
    ids=lambda then: type(then).__name__,
)
def test_what_follows_must_take_the_masks_that_there_are(then) -> None:
    with pytest.raises(UserError, match=type(then).__name__):
        DenseWarmup(until=0.5, then=then)
