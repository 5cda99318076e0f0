"""Sparse Factorized against V(sigma(norm(U(x)))), and its ranks against the formula."""

from fractions import Fraction
from math import ceil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sparseift import sparsify, transform
from sparseift.members import SparseFactorized
from sparseift.models import resnet18_cifar

from ..nets import LAYERS, NormAct

SPARSITIES = (0.5, 0.75, 0.9)


def rank(layer: nn.Module, sparsity: float) -> int:
    """Ci/g q^2 Co/g / ((1 - s) (Ci/g q^2 + Co/g)), rounded up, times the number of groups g."""
    groups = getattr(layer, "groups", 1)
    outputs, inputs = layer.weight.shape[0] // groups, layer.weight[0].numel()
    return groups * ceil(Fraction(inputs * outputs) / ((1 - Fraction(str(sparsity))) * (inputs + outputs)))


@pytest.mark.parametrize("sparsity", [0.5, 0.8])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_it_computes_v_of_the_activated_u(tiny, like, layer: nn.Module, sparsity: float) -> None:
    torch.manual_seed(0)
    dims = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
    net, x = tiny(layer, activation=nn.Tanh()), torch.randn(4, 3, *[7] * dims)
    new = transform(net, "sparse_factorized", sparsity, x)
    u, v = new.layer.first.layer, new.layer.second
    groups = getattr(layer, "groups", 1)
    r = rank(layer, sparsity)
    assert tuple(u.weight.shape) == (r, *layer.weight.shape[1:])
    assert tuple(v.weight.shape) == (layer.weight.shape[0], r // groups, *[1] * dims)
    assert u.bias is None
    hidden = like(layer, new.before(x), u.weight, None).tanh()
    pointwise = [F.linear, F.conv1d, F.conv2d, F.conv3d][dims]
    z = pointwise(hidden, v.weight, v.bias, **({"groups": groups} if dims else {}))
    torch.testing.assert_close(new(x), new.head(z.tanh()), rtol=1e-4, atol=1e-5)
    if layer.bias is None:
        assert v.bias is None
    else:
        assert torch.equal(v.bias, layer.bias)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)], ids=lambda norm: type(norm).__name__
)
def test_a_norm_of_the_network_s_kind_is_between_the_factors(tiny, norm: nn.Module, training: bool) -> None:
    torch.manual_seed(0)
    net, x = tiny(nn.Conv2d(8, 8, 3, padding=1, bias=False), norm), torch.randn(4, 3, 6, 6)
    new = transform(net, "sparse_factorized", 0.75, x).train(training)
    between = new.layer.first.norm
    assert type(between) is type(norm)
    assert between is not new.norm
    z = F.conv2d(new.before(x), new.layer.first.layer.weight, padding=1)
    if isinstance(norm, nn.BatchNorm2d) and not training:
        z = z / (1 + 1e-5) ** 0.5
    else:
        groups = getattr(between, "num_groups", z.shape[1])
        assert z.shape[1] % groups == 0
        dims = (0, 2, 3) if isinstance(norm, nn.BatchNorm2d) else (2, 3, 4)
        g = z if isinstance(norm, nn.BatchNorm2d) else z.view(4, groups, -1, 6, 6)
        g = (g - g.mean(dims, keepdim=True)) / (g.var(dims, correction=0, keepdim=True) + 1e-5).sqrt()
        z = g.reshape(z.shape)
    z = F.conv2d(z.clamp(min=0), new.layer.second.weight)
    torch.testing.assert_close(new(x), new.head(new.norm(z).clamp(min=0)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("with_norm", "with_activation"), [(True, False), (False, True), (False, False)])
def test_options_leave_out_the_norm_and_the_activation(tiny, with_norm: bool, with_activation: bool) -> None:
    torch.manual_seed(0)
    net, x = tiny(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)), torch.randn(4, 3, 6, 6)
    new = transform(net, SparseFactorized(norm=with_norm, activation=with_activation), 0.5, x).eval()
    z = F.conv2d(new.before(x), new.layer.first.layer.weight)
    z = z / (1 + 1e-5) ** 0.5 if with_norm else z
    z = z.relu() if with_activation else z
    z = F.conv2d(z, new.layer.second.weight, new.layer.second.bias)
    torch.testing.assert_close(new(x), new.head(new.norm(z).relu()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("act", "between"), [(None, []), (nn.GELU(), []), (nn.Identity(), ["activation"])])
def test_a_norm_with_an_activation_between_the_factors_keeps_it(tiny, act, between: list[str]) -> None:
    net, x = tiny(nn.Conv2d(8, 8, 3), NormAct(8, act)), torch.randn(4, 3, 6, 6)
    new = transform(net, "sparse_factorized", 0.5, x)
    assert [name for name, _ in new.layer.first.named_children()] == ["layer", "norm", *between]


def test_a_layer_without_an_activation_gets_the_most_frequent_one() -> None:
    net = nn.Sequential(
        nn.Linear(6, 8),
        nn.GELU(),
        nn.Linear(8, 8),
        nn.GELU(),
        nn.Linear(8, 8),
        nn.Tanh(),
        nn.Linear(8, 8),
        nn.Linear(8, 2),
    )
    new = transform(net, "sparse_factorized", 0.5, torch.empty(2, 6))
    assert [str(new[i].first.activation) for i in (2, 4, 6)] == [str(nn.GELU()), "Tanh()", str(nn.GELU())]


def test_a_network_without_activations_gets_relu() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    assert isinstance(transform(net, "sparse_factorized", 0.5, torch.empty(2, 6))[1].first.activation, nn.ReLU)


RANKS = {
    # At 0.9 a square layer has rank 9 C exactly: 576, 1152, 2304, 4608. The authors' floats give one more.
    "layer1.0.conv1": (116, 231, 576),
    "layer2.0.conv1": (210, 419, 1048),
    "layer2.0.conv2": (231, 461, 1152),
    "layer3.0.conv1": (419, 838, 2095),
    "layer3.0.conv2": (461, 922, 2304),
    "layer4.0.conv1": (838, 1676, 4190),
    "layer4.0.conv2": (922, 1844, 4608),
}


@pytest.mark.parametrize("index", range(3))
def test_ranks_of_resnet18_are_the_published_ones(index: int) -> None:
    with torch.device("meta"):
        net = resnet18_cifar(100)
    new = transform(net, "sparse_factorized", SPARSITIES[index], torch.empty(1, 3, 32, 32))
    for name, ranks in RANKS.items():
        pair = new.get_submodule(name)
        assert rank(net.get_submodule(name), SPARSITIES[index]) == ranks[index]
        assert pair.first.layer.out_channels == pair.second.in_channels == ranks[index]


def test_both_factors_are_masked_and_shortcuts_are_not_factorized() -> None:
    with torch.device("meta"):
        net = resnet18_cifar(100)
    new, plan = sparsify(net, "sparse_factorized", 0.75, torch.empty(1, 3, 32, 32))
    shortcuts = {f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)}
    convs = [f"layer{stage}.{block}.conv{i}" for stage in range(1, 5) for block in range(2) for i in (1, 2)]
    assert set(plan.masked) == shortcuts | {f"{c}.first.layer" for c in convs} | {f"{c}.second" for c in convs}
    assert all(isinstance(new.get_submodule(name), nn.Conv2d) for name in shortcuts)
