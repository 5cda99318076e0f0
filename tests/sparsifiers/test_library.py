"""As a user of plain torch writes it: no Lightning, no Hydra."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import sparseift
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
