"""A member that starts from given weights computes the function of the given network, or refuses."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparseift import Masks, UserError, sparsify, transform
from sparseift.members import LocalMember, Replacement, SparseDoped, SparseFactorized, SparseParallel, SparseWide
from sparseift.models import resnet18_cifar
from sparseift.surgery import resized_layer

from ..nets import X, conv

LINEAR = [
    SparseParallel(activation=False),
    SparseParallel(norm=False, activation=False),
    SparseFactorized(norm=False, activation=False),
    SparseDoped(norm=False, activation=False),
]


def trained(net: nn.Module, x: torch.Tensor = X) -> nn.Module:
    """As after training: no parameter is constant, and norms have seen data."""
    torch.manual_seed(1)
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter) * parameter.abs().mean().clamp(min=0.1)
    for _ in range(3):
        net.train()(torch.randn_like(x))
    return net.eval()


def assert_same(net: nn.Module, new: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        expected = net(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(new(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def chain(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        conv(3, 8), *middle, nn.ReLU(), conv(8, 8, bias=False), nn.BatchNorm2d(8), nn.GELU(), conv(8, 4)
    )


NETS = {
    "resnet": lambda: resnet18_cifar(5, base_width=4),
    "depthwise": lambda: chain(conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU6(), conv(8, 8, 1)),
    "groups": lambda: chain(conv(8, 16, groups=4), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 8, groups=2)),
    "transposed": lambda: chain(nn.ConvTranspose2d(8, 16, 2, groups=2), nn.ELU(), conv(16, 8, 1)),
    "no norm": lambda: nn.Sequential(conv(3, 6), nn.Tanh(), conv(6, 10), nn.Tanh(), conv(10, 2)),
    "instance": lambda: chain(nn.InstanceNorm2d(8, affine=True), nn.ReLU(), conv(8, 8)),
}


@pytest.mark.parametrize("member", [SparseWide(), *LINEAR], ids=str)
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_the_function_stays(net, member) -> None:
    net = trained(net())
    given_state = copy.deepcopy(net.state_dict())
    new = transform(net, member, 0.75, X, keep_weights=True)
    assert_same(net, new.eval(), X)
    assert all(torch.equal(value, given_state[name]) for name, value in net.state_dict().items())
    assert sum(p.numel() for p in new.parameters()) > sum(p.numel() for p in net.parameters())


@settings(max_examples=25)
@given(
    sparsity=st.floats(0.2, 0.95), widths=st.lists(st.integers(3, 12), min_size=2, max_size=3), seed=st.integers(0, 99)
)
def test_sparse_wide_keeps_the_function_for_any_factor(sparsity: float, widths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    x, layers, inputs = torch.randn(5, 4), [], 4
    for width in widths:
        layers += [nn.Linear(inputs, width * 2), nn.BatchNorm1d(width * 2), nn.SiLU()]
        inputs = width * 2
    net = trained(nn.Sequential(*layers, nn.Linear(inputs, 3)), x)
    try:
        new = transform(net, "sparse_wide", sparsity, x, keep_weights=True)
    except UserError as error:  # widths too small for the factor
        assert "steps of 1/" in str(error) or "nearest sparsity" in str(error)
        return
    assert_same(net, new.eval(), x)


def test_sparse_wide_keeps_the_function_of_batches_in_training() -> None:
    net = trained(resnet18_cifar(5, base_width=4))
    new = transform(net, "sparse_wide", 0.75, X, keep_weights=True)
    assert_same(net.train(), new.train(), torch.randn(8, 3, 16, 16))


def test_sparse_parallel_keeps_an_activation_that_only_the_layer_uses() -> None:
    net = trained(chain(conv(8, 8), nn.BatchNorm2d(8)))
    assert_same(net, transform(net, "sparse_parallel", 0.75, X, keep_weights=True).eval(), X)


REFUSED = {
    "activations before the sum of a residual block": (
        "sparse_parallel", NETS["resnet"], 0.75, r"SparseParallel .*; expected member.activation=false",
    ),
    "a branch with a norm": ("sparse_doped", NETS["resnet"], 0.75, r"SparseDoped .*; expected member.norm=false"),
    "an activation between factors": ("sparse_factorized", NETS["resnet"], 0.75, "expected member.norm=false"),
    "a rank below that of the layer": (
        SparseFactorized(norm=False, activation=False),
        lambda: nn.Sequential(conv(3, 8, 1), conv(8, 8, 1), conv(8, 2, 1)), 0.2, "a sparsity of 0.5 or more, or init",
    ),
    "flattened channels": (
        "sparse_wide", lambda: nn.Sequential(conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 8), nn.Linear(8, 2)),
        0.75, "SparseWide .* flattened channels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_kept_is_refused(case) -> None:
    member, make, sparsity, message = case
    with pytest.raises(UserError, match=message):
        transform(trained(make()), member, sparsity, X, keep_weights=True)


def test_a_member_of_one_s_own_that_draws_new_weights_is_refused() -> None:
    class Redrawn(LocalMember):
        def replacement(self, site, record, sparsity, initial):
            return Replacement(nn.Sequential(resized_layer(site.layer, initial)), ["0"])

    with pytest.raises(
        UserError, match=r"Redrawn can't start .* expected init.keep_weights=false to draw new weights$"
    ):
        transform(trained(NETS["no norm"]()), Redrawn(), 0.5, X, keep_weights=True)


def test_trained_weights_are_neither_kept_nor_lost_without_a_word() -> None:
    net = trained(NETS["resnet"]())
    with pytest.raises(
        UserError, match=r"init.keep_weights is None; expected true, .* \(bn1.weight has been trained\)"
    ):
        transform(net, "sparse_wide", 0.75, X)
    new = transform(net, "sparse_wide", 0.75, X, keep_weights=False).eval()
    with torch.no_grad():
        assert not torch.allclose(new(X), net(X), atol=1e-2)
    assert torch.equal(transform(net, "dense", 0.5, X).layer1[0].conv1.weight, net.layer1[0].conv1.weight)


@pytest.mark.parametrize("member", ["sparse_wide", SparseParallel(activation=False)], ids=str)
def test_copies_become_different_in_training(train, member) -> None:
    """Equal weights with equal masks would stay equal."""
    net, x = trained(NETS["resnet"]()), torch.randn(8, 3, 16, 16)
    new, plan = sparsify(net, member, 0.75, x, keep_weights=True)
    masks = Masks.largest(new, plan, seed=0)
    masks.apply()
    optimizer = torch.optim.SGD(new.train().parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        new(x).square().sum().backward()
        masks.mask_gradients()
        optimizer.step()
    if member == "sparse_wide":
        one, other = new.layer1[0].conv1.weight[:2]
    else:
        one, other = (branch.layer.weight for branch in new.layer1[0].conv1.branches[:2])
    assert not torch.equal(one != 0, other != 0) and not torch.allclose(one.abs().mean(), other.abs().mean(), rtol=1e-6)
