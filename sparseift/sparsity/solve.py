"""Solve for the plan that meets the budget, or a given sparsity.

FLOPs are linear in the densities, so the common factor of a distribution has a closed form. Counts are integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor, inf

from torch import nn

from ..common.checks import require
from ..errors import BudgetError
from ..graph.flops import LayerCost
from .distributions import Distribution
from .plan import LayerPlan, Plan


def dense_plan(net: nn.Module, costs: Mapping[str, LayerCost], budget: int, products: int = 0) -> Plan:
    """Return a plan that masks nothing."""
    return _assemble(net, costs, {}, budget, products, by_flops=True)


def plan_for_budget(
    net: nn.Module,
    costs: Mapping[str, LayerCost],
    masked: Iterable[str],
    distribution: Distribution,
    budget: int,
    products: int = 0,
    excess: int = 0,
) -> Plan:
    """Return the plan that meets the dense network's FLOPs, to within the cost of one weight (paper, section 3).

    Args:
        costs: The costs of all layers of the network.
        masked: Names of the layers to mask.
        budget: Forward FLOPs of the dense network for one sample.
        products: Forward FLOPs of the network's products outside of layers, for one sample.
        excess: FLOPs by which the plan exceeds the budget.

    Raises:
        BudgetError: The layers that stay dense exceed the budget, or one weight in each masked layer does, or the
            network meets it without masks.
    """
    masked = _maskable(costs, masked)
    target = budget + excess
    fixed = products + sum(cost.flops for name, cost in costs.items() if name not in set(masked))
    if fixed >= target:
        which = "the layers that stay dense" + (" and the products outside of layers" if products else "")
        raise BudgetError(f"{which} cost {fixed:,} FLOPs, which exceeds the budget of {target:,} under any mask")
    if sum(costs[name].flops for name in masked) <= target - fixed:
        raise BudgetError("the transformed network meets the budget without masks")
    price = {name: costs[name].flops_per_weight for name in masked}
    active = _active_counts(costs, price, distribution, target - fixed)
    return _assemble(net, costs, active, budget, products, by_flops=True)


def plan_for_sparsity(
    net: nn.Module,
    costs: Mapping[str, LayerCost],
    masked: Iterable[str],
    distribution: Distribution,
    sparsity: float,
    budget: int,
    products: int = 0,
) -> Plan:
    """Return the plan with a given sparsity of the masked layers together, to within one weight (as in RigL).

    Args:
        costs: The costs of all layers of the network.
        masked: Names of the layers to mask.
        sparsity: Share of their weights that is zero.
        budget, products: See `plan_for_budget`.

    Raises:
        BudgetError: The sparsity leaves less than one weight in each masked layer.
    """
    masked = _maskable(costs, masked)
    target = (1 - sparsity) * sum(costs[name].numel for name in masked)
    active = _active_counts(costs, dict.fromkeys(masked, 1), distribution, target)
    return _assemble(net, costs, active, budget, products, by_flops=False)


def _maskable(costs: Mapping[str, LayerCost], masked: Iterable[str]) -> list[str]:
    """The layers to mask that ran."""
    found = [name for name in masked if name in costs]
    if not found:
        raise BudgetError("no layer is eligible for masking, so there is nothing to make sparse")
    return found


def _active_counts(
    costs: Mapping[str, LayerCost], price: Mapping[str, int], distribution: Distribution, target: float
) -> dict[str, int]:
    """Numbers of active weights with a total price of `target`, and at least one in each layer.

    Args:
        price: The price of one weight of each masked layer.

    Raises:
        BudgetError: One weight in each layer costs more than the target, by more than the price of one weight.
    """
    least = sum(price.values())
    if least > target + max(price.values()):
        raise BudgetError(
            f"one weight in each of the {len(price):,} masked layers costs {least / target:.3g} times what is left "
            "for all of them"
        )
    numel = {name: costs[name].numel for name in price}
    relative = {name: _relative(distribution, costs[name].shape) for name in price}
    counts: dict[str, float] = dict.fromkeys(price, 1)
    free = set(price)
    while free and (left := target - sum(price[name] for name in price.keys() - free)) > 0:
        density = _densities({name: price[name] * numel[name] for name in price if name in free}, relative, left)
        wanted = {name: density[name] * numel[name] for name in density}
        if min(wanted.values()) >= 1:
            counts |= wanted
            break
        free -= {name for name in wanted if wanted[name] < 1}
    return _rounded(counts, price)


def _relative(distribution: Distribution, shape: tuple[int, ...]) -> float:
    value = distribution.relative_density(shape)
    fits = isinstance(value, int | float) and 0 < value < inf
    require(fits, f"the relative density by {distribution}", value, f"a finite number > 0 for the shape {shape}")
    return value


def _densities(total: Mapping[str, int], relative: Mapping[str, float], target: float) -> dict[str, float]:
    """min(1, factor * relative density) of each layer, with the factor at which sum(total * density) is `target`.

    The sum is piecewise linear in the factor: layers reach density 1 in the order of their relative density.

    Args:
        total: The price of all weights of each layer.
    """
    order = sorted(total, key=lambda name: relative[name], reverse=True)
    full = 0
    for position, name in enumerate(order):
        factor = (target - full) / sum(total[other] * relative[other] for other in order[position:])
        if factor * relative[name] <= 1:
            break
        full += total[name]
    return {name: min(1.0, factor * relative[name]) for name in total}


def _rounded(counts: Mapping[str, float], price: Mapping[str, int]) -> dict[str, int]:
    """The counts as integers. Each is rounded to the side that keeps the accumulated error of the price smaller.

    The nearest integer would round many layers of one shape, as in Sparse Parallel, to the same side.
    """
    rounded, error = {}, 0.0
    for name, count in counts.items():
        choices = {floor(count), ceil(count)}
        rounded[name] = min(choices, key=lambda choice: abs(error + (choice - count) * price[name]))
        error += (rounded[name] - count) * price[name]
    return rounded


def _assemble(
    net: nn.Module,
    costs: Mapping[str, LayerCost],
    active: Mapping[str, int],
    budget: int,
    products: int,
    by_flops: bool,
) -> Plan:
    layers = tuple(
        LayerPlan(**vars(cost), active=active.get(name, cost.numel), masked=name in active)
        for name, cost in costs.items()
    )
    return Plan(layers, budget, sum(parameter.numel() for parameter in net.parameters()), products, by_flops)
