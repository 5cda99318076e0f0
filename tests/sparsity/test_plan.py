"""The closed form of the plan against bisection on random layers; saturation and edge cases."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparseift import sparsify
from sparseift.errors import BudgetError
from sparseift.graph.flops import LayerCost
from sparseift.sparsity import ER, ERK, Uniform, dense_plan, plan_for_budget, plan_for_sparsity

NET = nn.Linear(1, 1)  # a plan takes only the number of parameters from it
DISTRIBUTIONS = [Uniform(), ERK(), ERK(power=0.5), ER()]

shapes = st.one_of(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 80), st.integers(1, 80), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 300), st.integers(1, 60), st.integers(1, 9)),
)


@st.composite
def tables(draw) -> dict[str, LayerCost]:
    rows = draw(st.lists(st.tuples(shapes, st.integers(1, 12544)), min_size=1, max_size=12))
    return {
        f"layer{index}": LayerCost(f"layer{index}", shape, prod(shape), 2 * positions)
        for index, (shape, positions) in enumerate(rows)
    }


def bisected(prices: list[int], sizes: list[int], relative: list[float], target: float) -> list[float]:
    """Real-valued counts, size * min(1, factor * relative) and at least 1, with a total cost of `target`."""

    def counts(factor: float) -> list[float]:
        return [max(1.0, size * min(1.0, factor * weight)) for size, weight in zip(sizes, relative, strict=True)]

    low, high = 0.0, 1 / min(relative)
    for _ in range(200):
        middle = (low + high) / 2
        cost = sum(price * count for price, count in zip(prices, counts(middle), strict=True))
        low, high = (middle, high) if cost < target else (low, middle)
    return counts(high)


def relative_density(distribution, shape: tuple[int, ...]) -> float:
    """From the definitions: uniform; ERK (sum of dimensions / product)^power; ER (out + in) / (out in)."""
    if isinstance(distribution, ERK):
        return (sum(shape) / prod(shape)) ** distribution.power
    return 1.0 if isinstance(distribution, Uniform) else 1 / shape[0] + 1 / shape[1]


def check_counts(plan, costs, masked, distribution, prices, target) -> None:
    real = bisected(
        prices, [costs[name].numel for name in masked],
        [relative_density(distribution, costs[name].shape) for name in masked], target,
    )  # fmt: skip
    for name, count in zip(masked, real, strict=True):
        layer = plan.masked[name]
        assert isinstance(layer.active, int)
        assert 1 <= layer.active <= layer.numel == costs[name].numel
        assert abs(layer.active - count) < 1 + 1e-6 * count
    spent = sum(price * plan.masked[name].active for name, price in zip(masked, prices, strict=True))
    above = max(0, sum(prices) - target)  # one weight a layer is the least
    assert abs(spent - target) <= max(above, max(prices) / 2 * (1 + 1e-6) + 1e-9 * target)


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(DISTRIBUTIONS), st.one_of(st.floats(0.001, 0.999), st.floats(1e-6, 1e-3)), st.data())
def test_budget_is_met_as_bisection_meets_it(costs, distribution, share: float, data) -> None:
    masked = data.draw(st.lists(st.sampled_from(sorted(costs)), min_size=1, unique=True))
    masked = [name for name in costs if name in masked]
    dense = sum(costs[name].flops for name in costs if name not in masked)
    target = max(1, round(share * sum(costs[name].flops for name in masked)))
    if target == sum(costs[name].flops for name in masked):
        return
    prices = [costs[name].flops_per_weight for name in masked]
    if sum(prices) > target + max(prices):
        with pytest.raises(BudgetError, match="one weight in each"):
            plan_for_budget(NET, costs, masked, distribution, dense + target)
        return
    plan = plan_for_budget(NET, costs, masked, distribution, dense + target)

    assert list(plan.masked) == masked
    assert [layer.name for layer in plan.layers] == list(costs)
    check_counts(plan, costs, masked, distribution, prices, target)
    assert all(layer.active == layer.numel for layer in plan.layers if not layer.masked)
    assert plan.forward == sum(layer.active * costs[layer.name].flops_per_weight for layer in plan.layers)
    assert plan.forward_stored == sum(cost.flops for cost in costs.values())
    assert plan.budget == dense + target
    assert plan.ratio == plan.forward / plan.budget


@settings(max_examples=100, deadline=None)
@given(tables(), st.sampled_from(DISTRIBUTIONS), st.one_of(st.floats(0.01, 0.99), st.floats(0.99, 0.99999)))
def test_sparsity_is_met_as_bisection_meets_it(costs, distribution, sparsity: float) -> None:
    numel = sum(cost.numel for cost in costs.values())
    if len(costs) > (1 - sparsity) * numel + 1:
        with pytest.raises(BudgetError, match="one weight in each"):
            plan_for_sparsity(NET, costs, costs, distribution, sparsity, budget=numel)
        return
    plan = plan_for_sparsity(NET, costs, costs, distribution, sparsity, budget=numel)
    check_counts(plan, costs, list(costs), distribution, [1] * len(costs), (1 - sparsity) * numel)


@given(shapes, st.integers(1, 1000), st.floats(0.01, 0.99), st.sampled_from(DISTRIBUTIONS))
def test_one_layer_gets_the_whole_budget(shape, positions: int, share: float, distribution) -> None:
    costs = {"only": LayerCost("only", shape, prod(shape), 2 * positions)}
    budget = max(1, int(share * costs["only"].flops))
    active = plan_for_budget(NET, costs, ["only"], distribution, budget).masked["only"].active
    assert abs(active - budget / (2 * positions)) <= 0.5 or active == 1


def test_uniform_density_is_the_same_everywhere() -> None:
    costs = {str(i): LayerCost(str(i), (100, 100 * i), 10_000 * i, 2 * i) for i in range(1, 6)}
    plan = plan_for_budget(NET, costs, costs, Uniform(), sum(cost.flops for cost in costs.values()) // 4)
    assert [layer.density for layer in plan.layers] == pytest.approx([0.25] * 5, abs=1e-4)
    assert plan.density == pytest.approx(0.25, abs=1e-4)


def test_the_other_layers_get_the_budget_of_saturated_ones() -> None:
    """ERK gives the small layer a density above 1: it becomes dense, and the large one gets the rest."""
    costs = {"small": LayerCost("small", (2, 2), 4, 2), "large": LayerCost("large", (1000, 1000), 10**6, 2)}
    plan = plan_for_budget(NET, costs, costs, ERK(), budget=2 * (4 + 3000))
    assert {name: layer.active for name, layer in plan.masked.items()} == {"small": 4, "large": 3000}


def test_layers_too_small_for_their_share_keep_one_weight_and_the_others_pay() -> None:
    """A density of 0.1 in 4 layers of 2 weights and one of 1000 gives 4 + 96.8 active weights, not 4 + 100."""
    costs = {str(i): LayerCost(str(i), (1, 2), 2, 2) for i in range(4)} | {"4": LayerCost("4", (10, 100), 1000, 2)}
    plan = plan_for_sparsity(NET, costs, costs, Uniform(), 0.9, budget=2 * 1008)
    assert [layer.active for layer in plan.layers] == [1, 1, 1, 1, 97]
    assert plan_for_budget(NET, costs, costs, Uniform(), 2 * 101).forward == 2 * 101


@pytest.mark.parametrize("member", ["dense", "sparse_parallel"])
def test_a_sparsity_with_less_than_one_weight_per_layer_is_refused_with_the_nearest_that_works(member: str) -> None:
    net, x = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))).to("meta"), torch.empty(1, 2)
    with pytest.raises(BudgetError, match=r"one weight in each .*; the nearest sparsity that works is 0\.\d+$") as said:
        sparsify(net, member, 0.99, x)
    near = float(str(said.value).split()[-1])
    plan = sparsify(net, member, near, x)[1]
    aim = plan.budget if member == "sparse_parallel" else (1 - near) * 40 * 2 + 2 * 8  # ten of the twelve are masked
    assert abs(plan.forward - aim) <= 2  # a weight
    with pytest.raises(BudgetError):
        sparsify(net, member, near + 0.01, x)


def test_parameters_count_masked_weights_as_inactive() -> None:
    net = nn.Sequential(nn.Linear(10, 10), nn.BatchNorm1d(10))
    costs = {"0": LayerCost("0", (10, 10), 100, 2)}
    plan = plan_for_budget(net, costs, ["0"], Uniform(), budget=50)
    assert (plan.params_stored, plan.params_active) == (130, 130 - 75)
    assert plan.density == 0.25


def test_a_plan_without_masks() -> None:
    costs = {"0": LayerCost("0", (10, 10), 100, 2)}
    plan = dense_plan(NET, costs, budget=400)
    assert (plan.forward, plan.forward_stored, plan.ratio, dict(plan.masked), plan.density) == (200, 200, 0.5, {}, 1.0)


COSTS = {"a": LayerCost("a", (10, 10), 100, 2), "b": LayerCost("b", (10, 10), 100, 2)}


@pytest.mark.parametrize("budget", [1, 199, 200])
def test_a_budget_below_the_cost_of_dense_layers_is_refused(budget: int) -> None:
    with pytest.raises(BudgetError, match="200"):
        plan_for_budget(NET, COSTS, ["b"], Uniform(), budget)


@pytest.mark.parametrize("budget", [400, 401, 10**9])
def test_a_budget_that_needs_no_zeros_is_refused(budget: int) -> None:
    with pytest.raises(BudgetError, match="meets the budget without masks"):
        plan_for_budget(NET, COSTS, ["b"], Uniform(), budget)


def test_a_plan_for_no_layer_is_refused() -> None:
    with pytest.raises(BudgetError, match="no layer"):
        plan_for_budget(NET, COSTS, [], Uniform(), 300)
    with pytest.raises(BudgetError, match="no layer"):
        plan_for_sparsity(NET, COSTS, [], Uniform(), 0.5, 300)


def test_summary() -> None:
    _, plan = sparsify(
        nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 3)), "dense", 0.5, torch.empty(1, 2)
    )
    assert plan.summary() == {
        "flops": {"budget": 128, "forward": 96, "forward_stored": 128, "products": 0, "ratio": 0.75},
        "params": {"stored": 8 + 32 + 24 + 15, "active": 8 + 16 + 24 + 15},
    }
    assert plan.layers_summary()[1] == {"name": "1", "stored": 32, "active": 16, "flops": 32}


def test_a_printed_plan_has_totals_and_layers() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 10))
    _, plan = sparsify(net, "dense", 0.75, torch.zeros(1, 1, 5, 5))
    assert repr(plan) == "Plan(1 of 3 layers masked, density 0.2500, 952 FLOPs, 0.6879 of the budget)"
    assert str(plan).splitlines() == [
        "952 FLOPs for one sample, 0.6879 of the budget of 1,384",
        "210 of 426 parameters active, 0.2500 where masked",
        "layer  shape    active  density  FLOPs",
        "0      4x1x3x3      36   1.0000    648",
        "1      8x4x3x3      72   0.2500    144",
        "3      10x8         80   1.0000    160",
    ]
