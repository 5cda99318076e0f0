"""As a user of plain torch writes it: no Lightning, no Hydra."""

import copy
from math import inf, nan

import pytest
import timm.optim
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import sparseift
from sparseift import UserError
from sparseift.sparsifiers import SET, RigL, Update

from .helpers import updated

TOTAL = 10
OPTIONS = {"update_interval": 2, "begin": 0, "end": 0.9, "drop_fraction": 0.4, "anneal": "cosine"}


def plain() -> nn.Sequential:
    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    torch.manual_seed(0)
    return nn.Sequential(
        *conv(3, 8), *conv(8, 16), *conv(16, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )


@pytest.mark.parametrize("kind", [RigL, SET])
def test_sparsify_and_train_in_a_plain_loop(kind) -> None:
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = images.mean((1, 2, 3)).argsort().argsort() // 4  # quartiles of brightness

    net, plan = sparseift.sparsify(plain(), "sparse_wide", sparsity=0.75, example=images)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    rigl, losses, start = kind(**OPTIONS), [], masks.sha256()
    for step in range(1, TOTAL + 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        if rigl.due(step, TOTAL):
            assert updated(rigl, masks, [optimizer], Update(step, TOTAL, seed=0)) > 0
        masks.mask_gradients()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.75 * losses[0]
    assert masks.sha256() != start
    assert masks.active == {name: layer.active for name, layer in plan.masked.items()}
    assert masks.active == {name: int(masks[name].sum()) for name in masks}
    used = {layer.name: int((net.get_submodule(layer.name).weight != 0).sum()) for layer in plan.layers}
    flops = sum(layer.flops_per_weight * used[layer.name] for layer in plan.layers)
    assert plan.budget * 0.99 < flops <= plan.budget * 1.001, "at the cost of the dense network"
    assert net.state_dict().keys() == plain().state_dict().keys(), "a plain network of plain tensors"


def train(run, forward=None) -> None:
    rigl = RigL(**OPTIONS)
    for step in range(1, TOTAL + 1):
        run.backward(step, forward)
        if rigl.due(step, TOTAL):
            rigl.update(run.masks, [run.optimizer], Update(step, TOTAL, seed=0))
        run.masks.mask_gradients()
        run.optimizer.step()


def test_a_compiled_network_trains_under_the_same_masks(loop, active) -> None:
    expected, run = (loop(lr=0.05, momentum=0.9) for _ in range(2))
    train(expected)
    compiled = torch.compile(run.net, backend="eager")
    run.masks = sparseift.Masks(compiled, {name: run.masks[name] for name in active})
    train(run, compiled)
    assert run.masks.sha256() == expected.masks.sha256()
    for name in active:
        weight, mask = compiled.get_submodule(name).weight, run.masks[name]
        assert torch.equal(weight, expected.masks.weights[name])
        assert not weight[~mask].any() and int(mask.sum()) == active[name]


def test_gradient_accumulation_and_clipping_keep_what_is_masked_at_zero(loop, active) -> None:
    run, rigl = loop(torch.optim.AdamW, lr=0.01, weight_decay=0.1), RigL(**OPTIONS)
    for step in range(1, TOTAL + 1):
        run.backward(2 * step)
        run.accumulate(2 * step + 1, run.net)
        if rigl.due(step, TOTAL):
            rigl.update(run.masks, [run.optimizer], Update(step, TOTAL, seed=0))
        run.masks.mask_gradients()
        nn.utils.clip_grad_norm_(run.net.parameters(), 0.1)
        run.optimizer.step()
    for name in active:
        assert not any(tensor[~run.masks[name]].any() for tensor in run.tensors(name).values())


def start() -> tuple[nn.Sequential, sparseift.Masks, torch.Tensor]:
    images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    net, plan = sparseift.sparsify(plain(), "sparse_wide", sparsity=0.75, example=images)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
    return net, masks, images


def moved(net: nn.Module, masks: sparseift.Masks, images: torch.Tensor) -> int:
    """Train for five steps. Returns how many weights moved."""
    optimizer, rigl, count = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), RigL(**OPTIONS), 0
    for step in range(1, 6):
        optimizer.zero_grad()
        F.cross_entropy(net(images), torch.arange(16) % 4).backward()
        if rigl.due(step, TOTAL):
            count += updated(rigl, masks, [optimizer], Update(step, TOTAL, seed=0))
        masks.mask_gradients()
        optimizer.step()
    masks.check([optimizer], net)
    return count


def assigned(net: nn.Module) -> nn.Module:
    net.load_state_dict({name: tensor.clone() for name, tensor in net.state_dict().items()}, assign=True)
    return net


def converted(net: nn.Module) -> nn.Module:
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        return net.double().float()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def replaced(net: nn.Module) -> nn.Module:
    net[3].weight = nn.Parameter(net[3].weight.detach().clone())
    return net


@pytest.mark.parametrize("change", [assigned, converted, replaced])
def test_masks_follow_parameters_that_replace_others(change) -> None:
    net, masks, images = start()
    old, expected = masks.weights["3"], moved(*start())
    assert moved(change(net), masks, images) == expected > 0
    assert masks.weights["3"] is net[3].weight is not old
    assert not any(net.get_submodule(name).weight[~masks[name]].any() for name in masks)


def test_a_copy_of_the_network_is_noticed() -> None:
    net, masks, images = start()
    twin = copy.deepcopy(net)
    with pytest.raises(
        UserError, match=r"^the masked weight of 3 is in no optimizer; expected masks and an optimizer of"
    ):
        moved(twin, masks, images)
    with pytest.raises(UserError, match=r"^the masked weight of 3 is not in the network that trains; expected masks"):
        masks.check_trained([], twin)
    twin = copy.deepcopy(net)
    copied = sparseift.Masks(twin, {name: masks[name] for name in masks})
    assert moved(twin, copied, images) == moved(net, masks, images) > 0


@pytest.mark.parametrize(
    "compute", [nn.utils.parametrizations.weight_norm, lambda layer: prune.identity(layer, "weight")]
)
def test_a_weight_that_is_computed_is_noticed(compute) -> None:
    net, masks, images = start()
    compute(net[3])
    with pytest.raises(UserError, match=r"^the weight of 3 is computed before use; expected a parameter"):
        moved(net, masks, images)


def test_two_masks_of_one_weight_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    mask = torch.eye(4, dtype=torch.bool)
    with pytest.raises(
        UserError, match=r"^0 and 2 share one weight, which can have only one mask; exclude one of them$"
    ):
        sparseift.Masks(net, {"0": mask, "1": mask, "2": mask})
    assert len(sparseift.Masks(net, {"0": mask, "1": mask})) == 2


def test_frozen_weights_stay_and_may_be_trained_later() -> None:
    net, masks, images = start()
    net[3].weight.requires_grad_(False)
    before, mask = net[3].weight.clone(), masks["3"]
    assert moved(net, masks, images) > 0
    assert torch.equal(net[3].weight, before) and masks["3"] is mask
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    net[3].weight.requires_grad_(True)
    with pytest.raises(UserError, match=r"^the masked weight of 3 is in no optimizer"):
        masks.check([optimizer], net)
    optimizer.add_param_group({"params": [net[3].weight], "lr": 0.01})
    masks.check([optimizer], net)
    F.cross_entropy(net(images), torch.arange(16) % 4).backward()
    assert updated(RigL(**OPTIONS), masks, [optimizer], Update(2, TOTAL, seed=0)) > 0
    assert not torch.equal(masks["3"], mask)


@pytest.mark.parametrize("kind", [torch.optim.Muon, timm.optim.Muon])
def test_an_optimizer_that_mixes_weights_is_noticed_unless_masks_are_applied(kind) -> None:
    for applied in (False, True):
        net = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
        masks = sparseift.Masks(net, {"1": torch.arange(64).view(8, 8) % 5 < 2})
        masks.apply()
        optimizer = kind(net.parameters(), lr=0.01)
        F.mse_loss(net(torch.eye(8)), torch.ones(8, 8)).backward()
        masks.mask_gradients()
        optimizer.step()
        assert net[1].weight[~masks["1"]].any()
        if applied:
            masks.apply()
            RigL(**OPTIONS).update(masks, [optimizer], Update(2, TOTAL, 0))
            masks.check([optimizer], net)
        else:
            with pytest.raises(UserError, match=r"^masked weights of 1 are not zero; expected a call of Masks\.apply"):
                RigL(**OPTIONS).update(masks, [optimizer], Update(2, TOTAL, 0))


@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_gradients_outside_the_masks_reach_nothing_inside(value: float, loop, active) -> None:
    """Neither through the norm that clips, nor through the step."""
    expected, run = (loop(torch.optim.AdamW, lr=0.01) for _ in range(2))
    for each in (expected, run):
        each.backward(1)
        if each is run:
            for name in ("first", "dead"):
                run.masks.weights[name].grad[~run.masks[name]] = value
        each.masks.mask_gradients()
        norm = nn.utils.clip_grad_norm_(each.net.parameters(), 0.1)
        assert norm.isfinite()
        each.optimizer.step()
    for name in active:
        assert torch.equal(run.masks.weights[name], expected.masks.weights[name])


def test_infinite_weights_outside_the_masks_become_zero() -> None:
    net, masks, _ = start()
    with torch.no_grad():
        net[3].weight[~masks["3"]] = inf
    assert masks.nonzero_outside() == ["3"]
    masks.apply()
    assert masks.nonzero_outside() == [] and net[3].weight.isfinite().all()


class Sparse(nn.Module):
    """An embedding with sparse gradients and a complex parameter, before layers that are masked."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 8, sparse=True)
        self.phase = nn.Parameter(torch.ones(8, dtype=torch.complex64))
        self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net((self.table(tokens) * self.phase).real)


@pytest.mark.parametrize("spoilt", [None, "table", "phase"])
def test_sparse_and_complex_gradients(spoilt: str | None) -> None:
    """An infinite one is noticed as others are: no mask moves."""
    torch.manual_seed(0)
    tokens = torch.tensor([0, 1, 1, 5])
    net, plan = sparseift.sparsify(Sparse(), "dense", 0.5, tokens)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    F.cross_entropy(net(tokens), tokens % 4).backward()
    assert net.table.weight.grad.is_sparse and net.phase.grad.is_complex()
    if spoilt == "table":
        net.table.weight.grad = net.table.weight.grad * inf
    if spoilt == "phase":
        net.phase.grad[3] = complex(0, nan)
    assert (updated(RigL(**OPTIONS), masks, [optimizer], Update(2, TOTAL, 0)) > 0) == (spoilt is None)
    masks.mask_gradients()
    optimizer.step()
    masks.check([optimizer], net)


def test_complex_layers() -> None:
    net = nn.Sequential(*(nn.Linear(6, 6, dtype=torch.complex64) for _ in range(4)))
    data = torch.randn(8, 6, dtype=torch.complex64)
    net, plan = sparseift.sparsify(net, "dense", 0.5, data)
    masks = sparseift.Masks.random(net, plan, seed=0)
    masks.apply()
    optimizer, count = torch.optim.Adam(net.parameters(), lr=0.01), 0
    for step in range(1, 6):
        optimizer.zero_grad()
        net(data).abs().sum().backward()
        count += updated(RigL(**OPTIONS), masks, [optimizer], Update(step, TOTAL, 0))
        masks.mask_gradients()
        optimizer.step()
    assert count > 0
    masks.check([optimizer], net)
