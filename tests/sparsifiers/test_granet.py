"""GraNet against a simulation on lists: prune to the cubic, drop the smallest, grow the largest gradients."""

from math import cos, nan, pi

import pytest
import torch
import torch.nn.functional as F

from sparseift import Masks, UserError
from sparseift.sparsifiers import GraNet, RigL, Update

from .helpers import flat, grown, mlp, plan_of, pruned, updated

NUMEL = {"0": 24, "2": 48, "4": 32}
ACTIVE = {"0": 7, "2": 12, "4": 9}
RIGL = {"update_interval": 3, "begin": 0.0, "end": 1.0, "drop_fraction": 0.5, "anneal": "cosine"}
OPTIONS = {**RIGL, "initial_density": 0.8, "prune_end": 0.68}
TOTAL = 30  # pruning ends at step 20, no multiple of 3


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_whole_run(optimizer: type[torch.optim.Optimizer]) -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.random(net, plan_of(net, ACTIVE), 0)
    granet = GraNet(**OPTIONS)
    granet.start(masks, plan_of(net, ACTIVE), seed=0)
    masks.apply()
    share = (0.8 * 104 - 28) / (104 - 28)
    simulated = {name: flat(masks[name]) for name in masks}
    assert {name: sum(mask) for name, mask in simulated.items()} == {
        name: ACTIVE[name] + round(share * (NUMEL[name] - ACTIVE[name])) for name in NUMEL
    }
    steps = optimizer(net.parameters(), lr=0.01, weight_decay=0.01)
    images, labels = torch.randn(16, 4), torch.randint(4, (16,))
    due = []
    for step in range(1, TOTAL + 1):
        steps.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        if granet.due(step, TOTAL):
            due.append(step)
            fraction = 0.5 * (1 + cos(pi * step / TOTAL)) / 2
            left = max(0, 1 - step / 20) ** 3
            for name, old in simulated.items():
                weight, gradient = flat(masks.weights[name]), flat(masks.weights[name].grad.abs())
                count = ACTIVE[name] + round(left * share * (NUMEL[name] - ACTIVE[name]))
                rest = pruned(weight, old, count)
                weight = [w * on for w, on in zip(weight, rest, strict=True)]
                replaced = int(fraction * count)
                simulated[name] = grown(gradient, pruned(weight, rest, count - replaced), replaced)
            granet.update(masks, [steps], Update(step, TOTAL, 0))
            for name, weight in masks.weights.items():
                assert flat(masks[name]) == simulated[name], f"{name}, step {step}"
                assert not weight[~masks[name]].any()
        masks.mask_gradients()
        steps.step()
    assert due == [3, 6, 9, 12, 15, 18, 20, 21, 24, 27]
    assert masks.active == masks.planned == ACTIVE


def test_what_is_pruned_competes_with_its_gradient_and_grows_at_zero() -> None:
    net = mlp(2, 1)
    masks = Masks(net, {"0": torch.tensor([[1, 0]])})
    granet = GraNet(
        **{**OPTIONS, "initial_density": 1.0, "update_interval": 1, "anneal": "constant", "drop_fraction": 1.0}
    )
    granet.start(masks, None, seed=0)
    net[0].weight.data = torch.tensor([[1.0, 2.0]])
    net[0].weight.grad = torch.tensor([[7.0, 6.0]])
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    granet.update(masks, [optimizer], Update(20, TOTAL, 0))
    masks.mask_gradients()
    assert flat(masks["0"]) == [True, False]
    assert flat(net[0].weight) == [0, 0] and flat(net[0].weight.grad) == [0, 0]


def test_after_the_end_of_dropping_and_growing_it_prunes_alone() -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.random(net, plan_of(net, ACTIVE), 0)
    granet = GraNet(**{**OPTIONS, "end": 0.5, "anneal": "constant"})
    granet.start(masks, None, seed=0)
    masks.apply()
    for weight in masks.weights.values():
        weight.grad = torch.rand_like(weight)
    for step in (15, 18, 20):
        before = {name: masks[name].clone() for name in masks}
        assert granet.due(step, TOTAL)
        granet.update(masks, [], Update(step, TOTAL, 0))
        assert all(before[name][masks[name]].all() for name in masks), "something has grown"
    assert masks.active == ACTIVE


def test_dropping_and_growing_alone_is_rigl() -> None:
    """After the end of pruning."""
    nets = [mlp(4, 6, 8, 4), mlp(4, 6, 8, 4)]
    for net, sparsifier in zip(nets, (GraNet(**OPTIONS), RigL(**RIGL)), strict=True):
        masks = Masks.random(net, plan_of(net, ACTIVE), 0)
        masks.apply()
        net(torch.ones(3, 4)).pow(2).sum().backward()
        assert updated(sparsifier, masks, [], Update(21, TOTAL, 0)) > 0
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_gradients_that_are_not_finite_stop_growing_but_not_pruning() -> None:
    net = mlp(4, 6, 8, 4)
    masks = Masks.random(net, plan_of(net, ACTIVE), 0)
    granet = GraNet(**OPTIONS)
    granet.start(masks, None, seed=0)
    masks.apply()
    before = {name: masks[name] for name in masks}
    for weight in masks.weights.values():
        weight.grad = torch.full_like(weight, nan)
    granet.update(masks, [], Update(20, TOTAL, 0))
    assert masks.active == ACTIVE
    assert all(before[name][masks[name]].all() for name in masks)


@pytest.mark.parametrize("change", [{"prune_end": 0}, {"initial_density": 2}, {"drop_fraction": 0}])
def test_mistakes(change: dict[str, object]) -> None:
    with pytest.raises(UserError):
        GraNet(**{**OPTIONS, **change})


def test_a_start_sparser_than_the_end_is_refused() -> None:
    with pytest.raises(UserError, match="initial_density"):
        GraNet(**{**OPTIONS, "initial_density": 0.2}).accept(plan_of(mlp(4, 6, 8, 4), ACTIVE))
