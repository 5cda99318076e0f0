"""Sparse Doped against V(U(x)) + sigma(norm(layer(x))), and its ranks against the formula."""

from fractions import Fraction
from math import floor

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseift import Masks, sparsify, transform
from sparseift.members import SparseDoped
from sparseift.models import resnet18_cifar

from ..nets import LAYERS

SPARSITIES = (0.5, 0.75, 0.9)


def rank(layer: nn.Module, sparsity: float) -> int:
    """s Ci/g q^2 Co/g / (Ci/g q^2 + Co/g), rounded down, times the number of groups g."""
    groups = getattr(layer, "groups", 1)
    outputs, inputs = layer.weight.shape[0] // groups, layer.weight[0].numel()
    return groups * floor(Fraction(str(sparsity)) * inputs * outputs / (inputs + outputs))


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_is_low_rank_plus_the_activated_sparse_layer(tiny, like, layer: nn.Module, sparsity: float) -> None:
    torch.manual_seed(0)
    dims = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    net, x = tiny(layer, activation=nn.Tanh()), torch.randn(4, 3, *[7] * dims)
    new = transform(net, "sparse_doped", sparsity, x)
    u, v = new.layer.low_rank
    theta = new.layer.sparse.layer
    groups = getattr(layer, "groups", 1)
    r = rank(layer, sparsity)
    assert r > 0
    assert tuple(u.weight.shape) == (r, *layer.weight.shape[1:])
    assert tuple(v.weight.shape) == (layer.weight.shape[0], r // groups, *[1] * dims)
    assert u.bias is None and v.bias is None
    assert torch.equal(theta.weight, layer.weight)
    h = new.before(x)
    pointwise = [F.linear, F.conv1d, F.conv2d, F.conv3d][dims]
    z = pointwise(like(layer, h, u.weight, None), v.weight, **({"groups": groups} if dims else {}))
    z = z + like(layer, h, theta.weight, layer.bias).tanh()
    torch.testing.assert_close(new(x), new.head(z.tanh()), rtol=1e-4, atol=1e-5)


def test_the_sparse_branch_has_its_own_norm_and_the_network_s_norm_follows_the_sum(tiny) -> None:
    torch.manual_seed(0)
    net, x = tiny(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)), torch.randn(4, 3, 6, 6)
    new = transform(net, "sparse_doped", 0.75, x)
    h = new.before(x)
    z = F.conv2d(h, new.layer.sparse.layer.weight, padding=1)
    mean, var = z.mean((0, 2, 3), keepdim=True), z.var((0, 2, 3), correction=0, keepdim=True)
    z = ((z - mean) / (var + 1e-5).sqrt()).relu()
    u, v = new.layer.low_rank
    z = z + F.conv2d(F.conv2d(h, u.weight, padding=1), v.weight)
    torch.testing.assert_close(new(x), new.head(new.norm(z).relu()), rtol=1e-4, atol=1e-4)


def test_without_norm_and_activation_the_sum_is_linear(tiny) -> None:
    """The authors' code."""
    torch.manual_seed(0)
    net, x = tiny(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)), torch.randn(4, 3, 6, 6)
    new = transform(net, SparseDoped(norm=False, activation=False), 0.75, x).eval()
    u, v = new.layer.low_rank
    product = torch.einsum("or,rikl->oikl", v.weight[:, :, 0, 0], u.weight)
    sparse = new.layer.sparse.layer
    z = F.conv2d(new.before(x), product + sparse.weight, sparse.bias, padding=1)
    torch.testing.assert_close(new(x), new.head(new.norm(z).relu()), rtol=1e-4, atol=1e-5)


RANKS = {
    "layer1.0.conv1": (28, 43, 51),
    "layer2.0.conv1": (52, 78, 94),
    "layer2.0.conv2": (57, 86, 103),
    "layer3.0.conv1": (104, 157, 188),
    "layer3.0.conv2": (115, 172, 207),
    "layer4.0.conv1": (209, 314, 377),
    "layer4.0.conv2": (230, 345, 414),
}


@pytest.mark.parametrize("index", range(3))
def test_ranks_of_resnet18_are_the_published_ones(index: int) -> None:
    with torch.device("meta"):
        net = resnet18_cifar(100)
    new = transform(net, "sparse_doped", SPARSITIES[index], torch.empty(1, 3, 32, 32))
    for name, ranks in RANKS.items():
        pair = new.get_submodule(name)
        assert rank(net.get_submodule(name), SPARSITIES[index]) == ranks[index]
        assert pair.low_rank[0].out_channels == pair.low_rank[1].in_channels == ranks[index]


def test_the_low_rank_pair_is_never_masked() -> None:
    """The authors' code also masks it, and costs 1 - s^2 of the budget."""
    net = resnet18_cifar(10, base_width=8)
    new, plan = sparsify(net, "sparse_doped", 0.75, torch.empty(1, 3, 16, 16))
    convs = [f"layer{stage}.{block}.conv{i}" for stage in range(1, 5) for block in range(2) for i in (1, 2)]
    shortcuts = {f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)}
    assert set(plan.masked) == shortcuts | {f"{conv}.sparse.layer" for conv in convs}
    pairs = [layer for layer in plan.layers if ".low_rank." in layer.name]
    assert len(pairs) == 2 * 16
    assert all(layer.density == 1 for layer in pairs)
    Masks.random(new, plan, seed=0).apply()
    assert all((new.get_submodule(layer.name).weight != 0).all() for layer in pairs)


def test_a_layer_too_small_for_a_rank_stays_as_it_is(tiny) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 1)
    )
    new, plan = sparsify(net, "sparse_doped", 0.5, torch.empty(2, 3, 6, 6))
    assert isinstance(new[1], nn.Conv2d) and isinstance(new[2], nn.Conv2d)
    assert set(plan.masked) == {"1", "2", "3.sparse.layer"}
