"""Every member costs what the dense network costs at every sparsity and distribution, by torch's counter."""

import copy
from functools import cache

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparseift import members, sparsify
from sparseift.graph.flops import layer_costs
from sparseift.graph.recorder import trace
from sparseift.graph.trace import Trace
from sparseift.models import resnet18_cifar
from sparseift.sparsity import ER, ERK, Plan, Uniform, eligible_layers, plan_for_budget

MEMBERS = [members.SparseWide(), members.SparseParallel(), members.SparseFactorized(), members.SparseDoped()]
DISTRIBUTIONS = [Uniform(), ERK(), ER()]
NETWORKS = {"resnet18_cifar": 32, "resnet18": 224, "resnet50": 224, "mobilenet_v2": 224}


def counted(net: nn.Module, example: torch.Tensor) -> tuple[int, dict[nn.Module, int]]:
    """FLOPs by torch's counter, and the output positions of each convolution and linear, in one forward pass."""
    positions: dict[nn.Module, int] = {}

    def hook(module: nn.Module, _: tuple, output: torch.Tensor) -> None:
        positions[module] = output.numel() // module.weight.shape[0]

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(example)
    for handle in handles:
        handle.remove()
    return counter.get_total_flops(), positions


def under_masks(net: nn.Module, plan: Plan, stored: int, positions: dict[nn.Module, int]) -> int:
    """FLOPs if each zero saves 2 FLOPs per output position."""
    return stored - sum(
        2 * (layer.numel - layer.active) * positions[net.get_submodule(name)] for name, layer in plan.masked.items()
    )


@cache
def dense(name: str) -> tuple[nn.Module, torch.Tensor, Trace, int]:
    with torch.device("meta"):
        net = resnet18_cifar(100) if name == "resnet18_cifar" else getattr(torchvision.models, name)()
        x = torch.empty(1, 3, NETWORKS[name], NETWORKS[name])
    return net, x, trace(net, x), counted(net, x)[0]


def planned(name: str, member: members.Member, sparsity: float) -> tuple[nn.Module, list[Plan]]:
    """The transformed network and its plans for all distributions, with a single transformation."""
    net, x, record, budget = dense(name)
    new = copy.deepcopy(net)
    names = member(new, record, eligible_layers(record), members.exact(sparsity))
    costs = layer_costs(trace(new, x))
    return new, [plan_for_budget(new, costs, names, distribution, budget) for distribution in DISTRIBUTIONS]


@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: type(member).__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_flops_are_the_budget(name: str, member: members.Member, sparsity: float) -> None:
    new, plans = planned(name, member, sparsity)
    for plan in plans:
        assert abs(plan.ratio - 1) < 1e-5
        assert all(1 <= layer.active <= layer.numel for layer in plan.layers)
    if sparsity == 0.5 and name != "resnet50":  # small enough to be counted again by torch
        stored, positions = counted(new, dense(name)[1])
        for plan in plans:
            assert plan.forward_stored == stored
            assert plan.forward == under_masks(new, plan, stored, positions)
            assert plan.ratio == plan.forward / plan.budget


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_sparsify_does_the_same_in_one_call(member: str) -> None:
    net, x, _, budget = dense("resnet18_cifar")
    new, plan = sparsify(net, member, 0.75, x, ERK())
    assert plan.budget == budget
    assert plan.forward == under_masks(new, plan, *counted(new, x))
    assert abs(plan.ratio - 1) < 1e-6
    assert plan.params_stored == sum(p.numel() for p in new.parameters())


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_the_dense_member_meets_the_sparsity(sparsity: float) -> None:
    net, x, *_ = dense("resnet18")
    new, plan = sparsify(net, "dense", sparsity, x)
    eligible = sum(layer.numel for layer in plan.masked.values())
    assert plan.density == pytest.approx(1 - sparsity, abs=1 / eligible)
    assert plan.ratio < 1 and plan.forward_stored == plan.budget
    assert plan.params_active == plan.params_stored - round(sparsity * eligible)
    assert str(new) == str(net)


@pytest.mark.parametrize("member", ["dense", "sparse_parallel"])
def test_no_masks_on_request(member: str) -> None:
    net, x, *_ = dense("resnet18_cifar")
    new, plan = sparsify(net, member, 0.75, x, masked=False)
    assert not plan.masked
    assert plan.forward == plan.forward_stored == counted(new, x)[0]
