"""Choosing weights over all layers at once, for exactly what the plan may spend."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import UserError
from ..sparsity.plan import Plan


def prices(plan: Plan) -> dict[str, int]:
    """What an active weight of each masked layer takes out of the budget that its plan was made for.

    A network that is larger than the dense one it replaces is masked to meet its FLOPs: a weight's price is its FLOPs
    for one sample. The dense network itself is masked to a given sparsity: the price of every weight is 1.
    """
    by_flops = plan.forward_stored > plan.budget
    return {name: layer.flops_per_weight if by_flops else 1 for name, layer in plan.masked.items()}


def best_within(scores: Mapping[str, Tensor], price: Mapping[str, int], budget: int) -> dict[str, Tensor]:
    """Masks of the weights of largest score in the whole network, as many as `budget` pays for; among equal scores the
    first ones. What is left of the budget is less than the price of the next weight.

    scores: by layer, of the shape of its weight. Raises UserError where one is not finite.
    """
    ranked = torch.cat([score.flatten() for score in scores.values()])
    if not bool(ranked.isfinite().all()):
        raise UserError("the scores of the weights are not finite: the network can't be pruned before training")
    order = ranked.argsort(descending=True, stable=True)
    paid = torch.cat([torch.full_like(score.flatten(), price[name], dtype=torch.int64) for name, score in scores.items()])
    count = int((paid[order].cumsum(0) <= budget).sum())
    chosen = torch.zeros_like(ranked, dtype=torch.bool)
    chosen[order[:count]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}
