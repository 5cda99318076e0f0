"""ERK against the iterative algorithm of RigL, and the distributions against their definitions."""

from functools import cache
from math import prod

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparseift import sparsify
from sparseift.graph.flops import LayerCost
from sparseift.models import resnet18_cifar
from sparseift.sparsity import ER, ERK, Uniform, plan_for_sparsity


def rigl_erk(shapes: list[tuple[int, ...]], sparsity: float, power: float = 1.0) -> list[float]:
    """RigL's algorithm: solve for a common factor, make layers with a density above 1 dense, repeat."""
    dense: set[int] = set()
    raw = [(sum(shape) / prod(shape)) ** power for shape in shapes]
    while True:
        to_spend = sum(
            -sparsity * prod(shape) if i in dense else (1 - sparsity) * prod(shape) for i, shape in enumerate(shapes)
        )
        factor = to_spend / sum(raw[i] * prod(shape) for i, shape in enumerate(shapes) if i not in dense)
        highest = max(raw[i] for i in range(len(shapes)) if i not in dense)
        if factor * highest <= 1:
            return [1.0 if i in dense else factor * raw[i] for i in range(len(shapes))]
        dense |= {i for i in range(len(shapes)) if raw[i] == highest}


def assert_equal_densities(plan, sparsity: float, power: float = 1.0) -> None:
    expected = rigl_erk([layer.shape for layer in plan.masked.values()], sparsity, power)
    for layer, density in zip(plan.masked.values(), expected, strict=True):
        assert abs(layer.active - density * layer.numel) < 1 + 1e-6 * layer.numel, layer.name


@cache
def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return resnet18_cifar(100) if name == "resnet18_cifar" else getattr(torchvision.models, name)()


@pytest.mark.parametrize("sparsity", [0.5, 0.75, 0.9, 0.98])
@pytest.mark.parametrize("name", ["resnet18_cifar", "resnet50", "mobilenet_v2"])
def test_erk_of_the_dense_member_is_that_of_rigl(name: str, sparsity: float) -> None:
    _, plan = sparsify(network(name), "dense", sparsity, torch.empty(1, 3, 64, 64), ERK())
    assert_equal_densities(plan, sparsity)
    numel = sum(layer.numel for layer in plan.masked.values())
    assert sum(layer.active for layer in plan.masked.values()) == pytest.approx((1 - sparsity) * numel, abs=1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(1, 200)] * 2, *[st.integers(1, 3)] * 2), min_size=1, max_size=20),
    st.floats(0.05, 0.99),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_erk_is_that_of_rigl_for_any_shapes(shapes, sparsity: float, power: float) -> None:
    costs = {str(i): LayerCost(str(i), shape, prod(shape), 2) for i, shape in enumerate(shapes)}
    plan = plan_for_sparsity(nn.Identity(), costs, costs, ERK(power), sparsity, budget=1)
    assert_equal_densities(plan, sparsity, power)


def test_definitions() -> None:
    shape = (64, 32, 3, 5)
    assert ERK().relative_density(shape) == pytest.approx((64 + 32 + 3 + 5) / (64 * 32 * 3 * 5))
    assert ERK(power=0.5).relative_density(shape) == pytest.approx(((64 + 32 + 3 + 5) / (64 * 32 * 3 * 5)) ** 0.5)
    assert ER().relative_density(shape) == pytest.approx((64 + 32) / (64 * 32))
    assert Uniform().relative_density(shape) == Uniform().relative_density((1, 1))


def test_er_and_erk_agree_on_linears_up_to_a_factor_and_not_on_kernels() -> None:
    assert ER().relative_density((30, 50)) == pytest.approx(ERK().relative_density((30, 50)))
    shapes = (64, 64, 3, 3), (64, 64, 1, 1)
    assert ER().relative_density(shapes[0]) == ER().relative_density(shapes[1])
    assert ERK().relative_density(shapes[0]) < ERK().relative_density(shapes[1])
