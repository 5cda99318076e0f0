"""Pruning at initialization: the masks come from scores of the untrained network and do not change afterwards.

As in the papers, the weights of largest score in the whole network stay, whatever layer they are in. Their number
follows from the plan: they fit its budget of FLOPs where the plan meets that of a dense network, and its number of
active weights where it states a sparsity (see `prices`). The numbers per layer, and the number of active parameters of
a FLOP-matched network, therefore differ from the plan's.

Under a pattern, the global choice gives the number of active weights of each layer. That is rounded to numbers that the
pattern allows, and the units of largest mean score stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...common.checks import integer
from ...errors import UserError
from ...masks.masks import Masks
from ...sparsity.plan import Plan, prices
from ..base import Sparsifier
from ..probe import Probe


class PrunedAtStart(Sparsifier):
    """Base of the methods; each states its `scores`.

    Args:
        batches: Number of training batches that the scores are computed from.
        iterations: Rounds of scoring and pruning. The cost of the active weights shrinks by the same factor in each
            (FORCE, section 4; SynFlow, algorithm 1).
    """

    def __init__(self, batches: int, iterations: int = 1):
        self.batches = integer("sparsifier.batches", batches, 1)
        self.iterations = integer("sparsifier.iterations", iterations, 1)

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        """Return the score of every weight, by layer.

        Args:
            weights: Untrained weights of the masked layers, none of them zeroed.
            masks: Weights that are still active.
            probe: The network with training batches.
        """
        raise NotImplementedError

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        if probe is None:
            raise UserError(f"{type(self).__name__} computes its masks from training batches: give `start` a probe")
        price, pattern = prices(plan), masks.pattern
        full = sum(price[name] * layer.numel for name, layer in plan.masked.items())
        end = sum(price[name] * layer.active for name, layer in plan.masked.items())
        weights = {name: weight.detach() for name, weight in masks.weights.items()}
        chosen = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        for iteration in range(1, self.iterations + 1):
            last = iteration == self.iterations
            budget = end if last else int(full * (end / full) ** (iteration / self.iterations))
            scores = self.scores(weights, chosen, probe)
            counts = {name: int(mask.count_nonzero()) for name, mask in best_within(scores, price, budget).items()}
            wanted = plan.with_active(counts)
            fitting = (pattern.plan(wanted) if last else pattern.rounded(wanted)).masked
            chosen = {name: pattern.largest(score, fitting[name].active) for name, score in scores.items()}
        for name, mask in chosen.items():
            masks[name] = mask


def best_within(scores: Mapping[str, Tensor], price: Mapping[str, int], budget: int) -> dict[str, Tensor]:
    """Return masks of the weights of largest score in the whole network that fit a budget; of equal scores the first.

    Args:
        scores: Scores by layer, of the shape of its weight.
        price: Price of a weight, by layer.
        budget: Price of all chosen weights at most. The rest is less than the price of the next weight.

    Raises:
        UserError: A score is not finite, or all are zero.
    """
    ranked = torch.cat([score.flatten() for score in scores.values()])
    if not bool(ranked.isfinite().all()):
        raise UserError("the scores of the weights are not finite: the network cannot be pruned before training")
    if not bool(ranked.any()):
        raise UserError(
            "the scores of all weights are zero: a layer, perhaps the last one, is initialized to zero and hides them"
        )
    order = ranked.argsort(descending=True, stable=True)
    paid = torch.cat([torch.full((score.numel(),), price[name], device=score.device) for name, score in scores.items()])
    count = int((paid[order].cumsum(0) <= budget).sum())
    chosen = torch.zeros_like(ranked, dtype=torch.bool)
    chosen[order[:count]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}
