"""Every member trains: all parameters are used, and each layer gets a gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseift import Masks
from sparseift.members import SparseDoped, SparseFactorized, SparseParallel
from sparseift.models import resnet18_cifar

MEMBERS = [
    "sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped", SparseParallel(activation=False),
    SparseParallel(norm=False), SparseFactorized(norm=False), SparseFactorized(activation=False),
    SparseDoped(norm=False, activation=False), SparseDoped(norm=False),
]  # fmt: skip


def assert_all_alive(net: nn.Module, masks: Masks) -> None:
    assert {name for name, p in net.named_parameters() if p.grad is None} == set()
    assert {name for name, p in net.named_parameters() if not torch.isfinite(p.grad).all()} == set()
    assert {name for name in masks if not (masks.weights[name].grad != 0).any()} == set()
    for name in masks:
        assert (masks.weights[name][~masks[name]] == 0).all()


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_gradient_reaches_every_layer_with_zero_init_residual(train, member) -> None:
    torch.manual_seed(0)
    net = resnet18_cifar(10, base_width=4, zero_init_residual=True)
    assert_all_alive(*train(net, member, 0.75, torch.randn(8, 3, 16, 16), steps=2))


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_one_step_without_norms(train, member) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 4)
    )
    assert_all_alive(*train(net, member, 0.5, torch.randn(8, 6), steps=1))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU()], ids=str)
@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_a_layer_that_starts_at_zero_learns(train, member: str, activation: nn.Module) -> None:
    """A residual branch whose last layer starts at zero (Fixup, DiT): two zero factors would get no gradient."""

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.up, self.down, self.head = (nn.Linear(i, o) for i, o in ((6, 8), (8, 16), (16, 8), (8, 4)))
            self.activation = activation
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.down.bias)

        def forward(self, x):
            h = self.stem(x)
            return self.head(self.activation(h + self.down(self.activation(self.up(h)))))

    torch.manual_seed(0)
    assert_all_alive(*train(Residual(), member, 0.5, torch.randn(32, 6), steps=3))


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_a_preactivation_resnet(train, member: str) -> None:
    class PreActBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

        def forward(self, x):
            h = F.relu(self.bn1(x))
            return self.conv2(F.relu(self.bn2(self.conv1(h)))) + self.shortcut(h)

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), PreActBlock(8, 8, 1), PreActBlock(8, 16, 2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    new, masks = train(net, member, 0.75, torch.randn(8, 3, 8, 8), steps=1)
    assert_all_alive(new, masks)
    assert isinstance(new[2].shortcut, nn.Conv2d)
    assert "2.shortcut" in set(masks)
