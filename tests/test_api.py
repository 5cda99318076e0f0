"""`transform` and `sparsify`: they leave the dense network unchanged, and refuse it in one line if they can't do it."""

import hashlib
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sparseift import Masks, UserError, sparsify, transform
from sparseift.errors import BudgetError
from sparseift.members import Dense, SparseFactorized
from sparseift.models import resnet18_cifar
from sparseift.sparsity import ERK

from .nets import MEMBERS, X, between, conv, plain


def fingerprint(net: nn.Module) -> str:
    digest = hashlib.sha256(str(net).encode())
    for name, value in net.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    flags = [(name, p.requires_grad, p.grad is None) for name, p in net.named_parameters()]
    return digest.hexdigest() + str(flags) + str([m.training for m in net.modules()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_the_dense_network_is_left_untouched(member: str, training: bool) -> None:
    net = resnet18_cifar(10, base_width=4).train(training)
    before = fingerprint(net)
    new, plan = sparsify(net, member, 0.75, X)
    Masks.random(new, plan, seed=0).apply()
    with torch.no_grad():
        for value in new.state_dict().values():
            value.add_(1)
    assert fingerprint(net) == before
    assert {m.training for m in new.modules()} == {training}


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_refusal_leaves_the_dense_network_untouched(member: str) -> None:
    net = plain()
    before = fingerprint(net)
    with pytest.raises(UserError):
        sparsify(net, member, 0.75, X, include=["nothing"])
    assert fingerprint(net) == before


@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_the_result_has_the_output_shapes_of_the_dense_network(member: str) -> None:
    """Its state dict loads into another result."""
    net = plain()
    new = transform(net, member, 0.75, X)
    other = transform(net, member, 0.75, X)
    other.load_state_dict(new.state_dict())
    assert new(X).shape == net(X).shape
    torch.testing.assert_close(other(X), new(X), rtol=0, atol=0)


def test_the_dense_member_is_the_network_itself() -> None:
    net = resnet18_cifar(10, base_width=4).eval()
    torch.testing.assert_close(transform(net, "dense", 0.75, X)(X), net(X), rtol=0, atol=0)


@pytest.mark.parametrize("member", MEMBERS)
def test_the_batch_size_and_device_of_the_example_do_not_matter(member: str) -> None:
    net = plain()
    plans = [sparsify(net, member, 0.75, example)[1] for example in (X, X[:1], X.to("meta"), torch.empty(7, 3, 8, 8))]
    assert all(plan == plans[0] for plan in plans)


@pytest.mark.parametrize("sparsity", [0, 1, -0.5, 1.5, 75, float("nan"), float("inf"), 0.0, 1.0])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_sparsity_outside_0_and_1_is_refused(member: str, sparsity: float) -> None:
    with pytest.raises(UserError, match=r"^sparsity is .*; expected a number in \(0, 1\)$") as refusal:
        sparsify(plain(), member, sparsity, X)
    assert str(sparsity) in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("sparsity", [1e-12, 1e-7, 1 - 1e-7, 1 - 1e-12])
@pytest.mark.parametrize("member", ["dense", *MEMBERS])
def test_a_sparsity_next_to_0_or_1_works_or_is_refused(member: str, sparsity: float) -> None:
    if member == "sparse_parallel" and sparsity > 0.5:
        pytest.skip("millions of branches are more than a test can build")
    try:
        plan = sparsify(plain().to("meta"), member, sparsity, X)[1]
    except UserError as refusal:
        assert "\n" not in str(refusal)
    else:
        assert all(layer.active >= 1 for layer in plan.layers)


@pytest.mark.parametrize("name", ["sparse_wid", "wide", "SparseWide", "member", "exact", "", "_", "dense "])
def test_an_unknown_member_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"member.*dense, sparse_wide, .*sparse_doped"):
        transform(plain(), name, 0.75, X)


def test_members_can_be_instances_with_options() -> None:
    assert not any(
        isinstance(m, nn.ReLU) for m in transform(plain(), SparseFactorized(activation=False), 0.5, X).modules()
    )
    assert str(transform(plain(), Dense(), 0.5, X)) == str(plain())


def heavy_ends() -> nn.Sequential:
    """A network whose first layer costs more than all others: none that is four times as wide meets the budget."""
    return nn.Sequential(conv(3, 64, 3), nn.ReLU(), conv(64, 64, 1), nn.ReLU(), conv(64, 4, 1)).to("meta")


CASES = [
    ("sparse_wide", 0.9), ("sparse_wide", 0.95), ("sparse_wide", 0.99), ("sparse_doped", 0.01), ("sparse_doped", 0.001),
]  # fmt: skip


@pytest.mark.parametrize(("member", "sparsity"), CASES)
def test_an_impossible_budget_is_refused_with_the_nearest_that_works(member: str, sparsity: float) -> None:
    net = heavy_ends()
    with pytest.raises(BudgetError, match=r"nearest sparsity that works is 0\.\d+$") as refusal:
        sparsify(net, member, sparsity, X)
    assert "\n" not in str(refusal.value)
    near = float(str(refusal.value).split()[-1])
    assert abs(sparsify(net, member, near, X)[1].ratio - 1) < 1e-3
    for percent in range(1, 100):  # nothing is nearer
        if abs(percent / 100 - sparsity) < abs(near - sparsity) - 1e-9:
            with pytest.raises(UserError):
                sparsify(net, member, percent / 100, X)


def test_the_nearest_sparsity_depends_on_distribution_and_layers() -> None:
    net, options = (
        heavy_ends(),
        {"distribution": ERK(), "include": ["0"]},
    )  # with its first layer sparse it can be much wider
    with pytest.raises(BudgetError, match=r"nearest sparsity that works is 0\.99$"):
        sparsify(net, "sparse_wide", 0.999, X, **options)
    assert abs(sparsify(net, "sparse_wide", 0.99, X, **options)[1].ratio - 1) < 1e-3
    with pytest.raises(BudgetError):
        sparsify(net, "sparse_wide", 0.99, X, ERK())


def test_the_refusal_says_if_no_sparsity_meets_the_budget() -> None:
    """One more column of the two dense layers costs more than all weights of the masked one."""
    sizes = (64, 64, 64, 64, 1, 64)
    net = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes))).to("meta")
    with pytest.raises(BudgetError, match="the layers that stay dense cost") as refusal:
        sparsify(net, "sparse_wide", 0.75, torch.empty(2, 64), exclude=["1", "2"])
    assert "no sparsity can" in str(refusal.value)


@pytest.mark.parametrize("sparsity", ["0.5", None, torch.tensor(0.5), [0.5], 0.5j])
@pytest.mark.parametrize("member", ["dense", "sparse_wide"])
def test_a_sparsity_that_is_not_a_number_is_refused(member: str, sparsity) -> None:
    with pytest.raises(UserError, match=r"^sparsity is .*; expected a number in \(0, 1\)$"):
        sparsify(plain(), member, sparsity, X)


@pytest.mark.parametrize("sparsity", [Fraction(3, 4), np.float64(0.75), np.float32(0.75)])
def test_every_kind_of_number_is_a_sparsity(sparsity) -> None:
    assert sparsify(plain(), "sparse_wide", sparsity, X)[1] == sparsify(plain(), "sparse_wide", 0.75, X)[1]


@pytest.mark.parametrize("member", [None, 3, object(), lambda *_: [], SparseFactorized, nn.ReLU()])
def test_a_value_that_is_not_a_member_is_refused(member) -> None:
    with pytest.raises(UserError, match=r"^member is .*; expected a name such as 'sparse_wide' .*instance"):
        transform(plain(), member, 0.75, X)


def _scripted(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net)


def _lazy(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return nn.Sequential(net, nn.LazyConv2d(8, 1))


WITHOUT_CODE = {"script": (_scripted, "then script"), "compile": (torch.compile, "then call torch.compile")}


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_doped"])
@pytest.mark.parametrize("kind", WITHOUT_CODE)
def test_a_compiled_network_is_refused_with_what_to_do(kind: str, member: str) -> None:
    made, said = WITHOUT_CODE[kind]
    block = nn.Sequential(conv(8, 8), nn.ReLU())
    for net in (between(made(block)), made(between(block))):
        with pytest.raises(UserError, match=f"transform the network first, {said}"):
            sparsify(net, member, 0.75, X)


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_doped"])
def test_a_lazy_layer_is_refused_until_it_has_shapes(member: str) -> None:
    net = between(_lazy(nn.Sequential(conv(8, 8), nn.ReLU())))
    with pytest.raises(UserError, match=r"^1\.1 is a lazy layer .* run the network once"):
        sparsify(net, member, 0.75, X)
    net(X)
    assert sparsify(net, member, 0.75, X)[1].masked


def test_a_network_without_a_layer_to_mask_is_refused() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)).to("meta")
    with pytest.raises(UserError, match="no layer is eligible"):
        sparsify(net, "sparse_wide", 0.75, torch.empty(2, 64), exclude="1")
