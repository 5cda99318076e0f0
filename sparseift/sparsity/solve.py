"""Solve for the plan that meets the budget, or a given sparsity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor

from torch import nn

from ..errors import BudgetError
from ..graph.flops import LayerCost
from .distributions import Distribution
from .plan import LayerPlan, Plan


def dense_plan(net: nn.Module, costs: Mapping[str, LayerCost], budget: int) -> Plan:
    """A plan that masks nothing."""
    return _assemble(net, costs, {}, budget)


def plan_for_budget(
    net: nn.Module,
    costs: Mapping[str, LayerCost],
    masked: Iterable[str],
    distribution: Distribution,
    budget: int,
) -> Plan:
    """Densities at which the forward FLOPs of `net` meet `budget`, to within the cost of one weight (paper, section 3).

    Raises BudgetError where the layers that stay dense already exceed it, where one weight a layer does, or where
    nothing would have to be masked.
    """
    masked = [name for name in masked if name in costs]
    if not masked:
        raise BudgetError("no layer is eligible for masking, so there is nothing to make sparse")
    fixed = sum(cost.flops for name, cost in costs.items() if name not in set(masked))
    if fixed >= budget:
        raise BudgetError(
            f"the layers that stay dense cost {fixed:,} FLOPs, above the budget of {budget:,}: "
            "no mask can make up for it"
        )
    price = {name: costs[name].flops_per_weight for name in masked}
    if sum(costs[name].flops for name in masked) <= budget - fixed:
        raise BudgetError("the network is no larger than its budget: nothing would have to be masked")
    return _assemble(net, costs, _active_counts(costs, price, distribution, budget - fixed), budget)


def plan_for_sparsity(
    net: nn.Module,
    costs: Mapping[str, LayerCost],
    masked: Iterable[str],
    distribution: Distribution,
    sparsity: float,
    budget: int,
) -> Plan:
    """Densities at which a share `sparsity` of the weights of the masked layers is zero, to within one weight: plain
    sparse training (RigL). Raises BudgetError where one weight a layer is already more."""
    masked = [name for name in masked if name in costs]
    if not masked:
        raise BudgetError("no layer is eligible for masking, so there is nothing to make sparse")
    price = dict.fromkeys(masked, 1)
    target = (1 - sparsity) * sum(costs[name].numel for name in masked)
    return _assemble(net, costs, _active_counts(costs, price, distribution, target), budget)


def _active_counts(
    costs: Mapping[str, LayerCost], price: Mapping[str, int], distribution: Distribution, target: float
) -> dict[str, int]:
    """Active weights per layer whose total price is `target`. price: of one weight, for each masked layer.

    A layer that would have less than one weight keeps one, and the others pay for it. Raises BudgetError where one
    weight a layer already costs more than the target, and more than one weight above it.
    """
    least = sum(price.values())
    if least > target + max(price.values()):
        raise BudgetError(
            f"one weight in each of the {len(price):,} masked layers is already {least / target:.3g} times what all "
            "may have together"
        )
    numel = {name: costs[name].numel for name in price}
    relative = {name: distribution.relative_density(costs[name].shape) for name in price}
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


def _densities(total: Mapping[str, int], relative: Mapping[str, float], target: float) -> dict[str, float]:
    """min(1, factor * relative density), with the factor that makes sum(total price * density) equal to `target`.

    The sum is piecewise linear in the factor: layers reach density 1 in the order of their relative density.
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
    """Each count rounded down or up, whichever keeps the error of the price so far nearest to zero: many layers of one
    shape, as in Sparse Parallel, would otherwise all be off to the same side."""
    rounded, error = {}, 0.0
    for name, count in counts.items():
        choices = {floor(count), ceil(count)}
        rounded[name] = min(choices, key=lambda choice: abs(error + (choice - count) * price[name]))
        error += (rounded[name] - count) * price[name]
    return rounded


def _assemble(net: nn.Module, costs: Mapping[str, LayerCost], active: Mapping[str, int], budget: int) -> Plan:
    layers = tuple(
        LayerPlan(
            name=name,
            shape=cost.shape,
            numel=cost.numel,
            active=active.get(name, cost.numel),
            flops_per_weight=cost.flops_per_weight,
            masked=name in active,
        )
        for name, cost in costs.items()
    )
    return Plan(layers, budget, params_stored=sum(parameter.numel() for parameter in net.parameters()))
