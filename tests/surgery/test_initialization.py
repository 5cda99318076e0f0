"""New weights have the distribution of the network's own initial weights: scale, kind and fan."""

from math import sqrt

import pytest
import torch
from torch import nn

from sparseift import transform

X = torch.empty(2, 3, 8, 8)
LAYERS = ((16, 32, 3), (32, 48, 3), (48, 96, 1), (96, 64, 3))  # inputs, outputs, kernel: fan-in and fan-out differ


def network(init) -> nn.Sequential:
    torch.manual_seed(0)
    convs = [nn.Conv2d(i, o, k, padding=k // 2) for i, o, k in LAYERS]
    for conv in convs:
        init(conv.weight)
    return nn.Sequential(nn.Conv2d(3, 16, 1), *convs, nn.Conv2d(64, 2, 1))


def fans(shape: torch.Size) -> tuple[int, int]:
    field = shape[2] * shape[3]
    return shape[1] * field, shape[0] * field


def kaiming(mode: str):
    return lambda weight: nn.init.kaiming_normal_(weight, mode=mode, nonlinearity="relu")


# initialization, standard deviation as a function of the fans, and whether it is uniform
LAWS = {
    "he fan out": (kaiming("fan_out"), lambda fan_in, fan_out: sqrt(2 / fan_out), False),
    "he fan in": (kaiming("fan_in"), lambda fan_in, fan_out: sqrt(2 / fan_in), False),
    "he uniform": (nn.init.kaiming_uniform_, lambda fan_in, fan_out: sqrt(2 / fan_in), True),
    "lecun": (lambda w: w.normal_(0, 1 / sqrt(fans(w.shape)[0])), lambda fan_in, fan_out: sqrt(1 / fan_in), False),
    "xavier normal": (nn.init.xavier_normal_, lambda fan_in, fan_out: sqrt(2 / (fan_in + fan_out)), False),
    "xavier uniform": (nn.init.xavier_uniform_, lambda fan_in, fan_out: sqrt(2 / (fan_in + fan_out)), True),
    "torch's own": (
        lambda w: nn.init.kaiming_uniform_(w, a=sqrt(5)),
        lambda fan_in, fan_out: sqrt(1 / 3 / fan_in),
        True,
    ),
    "fixed 0.02": (lambda w: nn.init.normal_(w, std=0.02), lambda fan_in, fan_out: 0.02, False),
    "fixed 0.02 truncated": (lambda w: nn.init.trunc_normal_(w, std=0.02), lambda fan_in, fan_out: 0.02, False),
}
NEW = {
    "sparse_wide": [""],
    "sparse_parallel": [".branches.0.layer", ".branches.1.layer", ".branches.3.layer"],
    "sparse_factorized": [".first.layer", ".second"],
    "sparse_doped": [".low_rank.0", ".low_rank.1"],
}


@pytest.mark.parametrize("member", NEW)
@pytest.mark.parametrize("law", LAWS)
def test_new_weights_follow_the_law_of_the_network(law: str, member: str) -> None:
    init, std, uniform = LAWS[law]
    with torch.no_grad():
        net = network(init)
    new = transform(net, member, 0.75, X)
    for index in range(1, 1 + len(LAYERS)):
        for part in NEW[member]:
            weight = new.get_submodule(f"{index}{part}").weight.detach()
            expected = std(*fans(weight.shape))
            # The standard deviation of n draws has an error below 5 / sqrt(2 n), except once in a million. The 2 % are
            # for a standard deviation that is estimated from the old weights.
            assert weight.std().item() == pytest.approx(expected, rel=5 / sqrt(2 * weight.numel()) + 0.02), (
                index,
                part,
            )
            assert abs(weight.mean().item()) < 5 * expected / sqrt(weight.numel())
            peak = weight.abs().max().item() / expected
            assert peak < 1.8 if uniform else peak > 2.2


def test_branches_are_drawn_independently() -> None:
    net = network(nn.init.kaiming_normal_)
    branches = torch.stack([b.layer.weight.flatten() for b in transform(net, "sparse_parallel", 0.75, X)[4].branches])
    correlation = torch.corrcoef(branches.detach()) - torch.eye(4)
    assert correlation.abs().max() < 5 / sqrt(branches.shape[1])


def test_the_seed_determines_all_weights() -> None:
    net = network(nn.init.kaiming_normal_)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        new = transform(net, "sparse_factorized", 0.75, X)
        return torch.cat([p.detach().flatten() for p in new.parameters()])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_weights_stay_constant_when_widened(value: float) -> None:
    net = network(lambda weight: nn.init.constant_(weight, value))
    new = transform(net, "sparse_wide", 0.75, X)
    assert all((new[i].weight == value).all() for i in range(1, 5))


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel"])
def test_biases_keep_their_values(member: str) -> None:
    net = network(nn.init.kaiming_normal_)
    for index in range(1, 5):
        nn.init.constant_(net[index].bias, 0.25)
    new = transform(net, member, 0.75, X)
    biases = [new[i].bias if member == "sparse_wide" else new[i].branches[3].layer.bias for i in range(1, 5)]
    assert all((bias == 0.25).all() for bias in biases)


@pytest.mark.parametrize("member", NEW)
def test_dtype_device_and_requires_grad_are_kept(member: str) -> None:
    net = network(nn.init.kaiming_normal_).double()
    net[2].weight.requires_grad_(False)
    new = transform(net, member, 0.75, X.double())
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    for index in range(1, 5):
        weights = [new.get_submodule(f"{index}{part}").weight for part in NEW[member]]
        assert {weight.requires_grad for weight in weights} == {index != 2}
    meta = transform(net.to("meta"), member, 0.75, X.double())
    assert {p.device.type for p in meta.parameters()} == {"meta"}
    assert {k: v.shape for k, v in meta.state_dict().items()} == {k: v.shape for k, v in new.state_dict().items()}
