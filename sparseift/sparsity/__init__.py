"""The budget: eligible layers, distributions of density, and the plan that meets the budget. Imports torch and
`graph`.
"""

from .distributions import ER, ERK, Distribution, Uniform
from .eligible import eligible_layers
from .plan import LayerPlan, Plan, prices, training_flops
from .solve import dense_plan, plan_for_budget, plan_for_sparsity

__all__ = [
    "ER",
    "ERK",
    "Distribution",
    "LayerPlan",
    "Plan",
    "Uniform",
    "dense_plan",
    "eligible_layers",
    "plan_for_budget",
    "plan_for_sparsity",
    "prices",
    "training_flops",
]
