"""Fused steps of the optimizer, in networks where they would fail."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from sparseift.training.optimizers import parameter_groups, with_fused_step
from sparseift.training.schedulers import Scheduled, multi_step

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)


class LayerDrop(nn.Module):
    """Skips the layers that a step does not name."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

    def forward(self, values: Tensor, used: list[int]) -> Tensor:
        for index in used:
            values = self.layers[index](values).relu() + values
        return values


@pytest.mark.parametrize("optimizer", [SGD, partial(torch.optim.AdamW, lr=0.1)], ids=["SGD", "AdamW"])
def test_gradients_may_come_late(optimizer) -> None:
    """The third layer first runs in the second step, and the fourth one never. The reference is torch's plain step."""
    torch.manual_seed(0)
    net = LayerDrop()
    twin = LayerDrop()
    twin.load_state_dict(net.state_dict())
    fused = with_fused_step(optimizer, net, "32-true", clips=False)([{"params": list(net.parameters())}])
    plain = optimizer(twin.parameters(), foreach=False)
    assert fused.defaults["fused"]
    for step, used in enumerate(([0, 1], [1, 2], [0, 2], [0, 1, 2])):
        data = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        for module, each in ((net, fused), (twin, plain)):
            each.zero_grad()
            module(data, used).square().mean().backward()
            each.step()
    for found, expected in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_group_may_be_added_later() -> None:
    net = LayerDrop()
    optimizer = with_fused_step(SGD, net, "32-true", clips=False)([{"params": list(net.layers[0].parameters())}])
    for used in ([0], [0, 1], [0, 1]):
        if used == [0, 1] and len(optimizer.param_groups) == 1:
            optimizer.add_param_group({"params": list(net.layers[1].parameters())})
        net(torch.ones(2, 4), used).square().mean().backward()
        optimizer.step()
    assert all("momentum_buffer" in optimizer.state[p] for layer in net.layers[:2] for p in layer.parameters())


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(3, dtype=torch.complex64))


@pytest.mark.parametrize("net", [Complex(), nn.Embedding(3, 2, sparse=True), nn.EmbeddingBag(3, 2, sparse=True)])
def test_what_fused_kernels_do_not_support_is_not_fused(net: nn.Module) -> None:
    made = with_fused_step(partial(torch.optim.SGD, lr=0.1, momentum=0.9), net, "32-true", clips=False)
    optimizer = made([{"params": list(net.parameters())}])
    loss = net.phase.abs().sum() if isinstance(net, Complex) else net(torch.tensor([[0, 1]])).sum()
    loss.backward()
    optimizer.step()
    assert not optimizer.defaults["fused"]


def test_a_first_step_with_dampening_cannot_be_made_up_for() -> None:
    net = nn.Linear(2, 2)
    damped = partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5)
    assert not with_fused_step(damped, net, "32-true", clips=False)([{"params": list(net.parameters())}]).defaults[
        "fused"
    ]


@pytest.mark.parametrize("resumed", [False, True])
def test_a_group_that_is_added_later_follows_the_schedule(resumed: bool) -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]

    def start(count: int) -> tuple[torch.optim.Optimizer, Scheduled]:
        groups = [{"params": list(layer.parameters()), "lr": 1 / 2**i} for i, layer in enumerate(layers[:count])]
        optimizer = torch.optim.SGD(groups)
        return optimizer, multi_step(optimizer, milestones=(2, 4), gamma=0.1, warmup=0)

    optimizer, schedule = start(1)
    rates = []
    for epoch in range(6):
        if epoch == 1:
            optimizer.add_param_group({"params": list(layers[1].parameters()), "lr": 0.5})
        if epoch == 3 and resumed:
            state = optimizer.state_dict(), schedule.state_dict()
            optimizer, schedule = start(1)
            optimizer.add_param_group({"params": list(layers[1].parameters())})
            optimizer.load_state_dict(state[0])
            schedule.load_state_dict(state[1])
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    factors = [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rates[0] == [1] and rates[1:] == [pytest.approx([factor, factor / 2]) for factor in factors[1:]]


class Positions(nn.Linear):
    """Names a parameter without weight decay, as transformers of timm do."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))

    def no_weight_decay(self) -> set[str]:
        return {"pos_embed"}


def test_parameters_without_weight_decay() -> None:
    net = Positions()
    decayed, others = parameter_groups(net, decay_norm_and_bias=False)
    assert decayed == {"params": [net.weight]} and others["weight_decay"] == 0.0
    assert {id(parameter) for parameter in others["params"]} == {id(net.bias), id(net.pos_embed)}
    assert parameter_groups(net, decay_norm_and_bias=True) == [{"params": list(net.parameters())}]
