"""Choosing over all layers at once, for what the plan may spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import UserError
from ..sparsity.plan import Plan

PARTS = 1_000_000


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

    scores: by layer, of the shape of its weight. Raises UserError where one is not finite, or where all are zero.
    """
    ranked = torch.cat([score.flatten() for score in scores.values()])
    if not bool(ranked.isfinite().all()):
        raise UserError("the scores of the weights are not finite: the network can't be pruned before training")
    if not bool(ranked.any()):
        raise UserError(
            "the scores of all weights are zero: a layer that starts at zero, perhaps the last one, hides them"
        )
    order = ranked.argsort(descending=True, stable=True)
    paid = torch.cat([torch.full((score.numel(),), price[name], device=score.device) for name, score in scores.items()])
    count = int((paid[order].cumsum(0) <= budget).sum())
    chosen = torch.zeros_like(ranked, dtype=torch.bool)
    chosen[order[:count]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}


def nearest_sum(options: Sequence[Sequence[int]], target: int) -> list[int]:
    """The index of one option of each, so that their sum is as near to `target` as it gets; of two sums as near, the
    smaller. Options are rounded to a millionth of the target."""
    unit = max(1, target // PARTS)
    rounded = [[round(option / unit) for option in each] for each in options]
    reachable = [1]  # bit n of an item: n units are a sum of the options up to there
    for each in rounded:
        reachable.append(0)
        for option in each:
            reachable[-1] |= reachable[-2] << option
    wanted = round(target / unit)
    below = (reachable[-1] & ((2 << wanted) - 1)).bit_length() - 1
    above = reachable[-1] >> wanted
    rest = wanted + (above & -above).bit_length() - 1 if above else below
    if below >= 0 and wanted - below <= rest - wanted:
        rest = below
    chosen = []
    for each, before in zip(reversed(rounded), reversed(reachable[:-1]), strict=True):
        chosen.append(next(i for i, option in enumerate(each) if rest >= option and before >> (rest - option) & 1))
        rest -= each[chosen[-1]]
    return chosen[::-1]
