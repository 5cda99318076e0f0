"""Where the zeros go: which layers, how the density is spread over them, and the plan that meets the budget."""

from .distributions import ER, ERK, Distribution, Uniform
from .layers import eligible_layers
from .plan import BudgetError, LayerPlan, Plan, dense_plan, plan_for_budget, plan_for_sparsity

__all__ = [
    "ER",
    "ERK",
    "BudgetError",
    "Distribution",
    "LayerPlan",
    "Plan",
    "Uniform",
    "dense_plan",
    "eligible_layers",
    "plan_for_budget",
    "plan_for_sparsity",
]
