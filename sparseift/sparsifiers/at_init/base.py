"""Pruning at initialization: masks are computed from scores of the untrained network, and do not change.

As in the papers, the weights with the largest scores in the whole network stay active. Together they cost as much as
the active weights of the plan: in FLOPs if the plan meets a budget of FLOPs, in weights if it meets a sparsity (see
`prices`). The densities of the layers therefore differ from the planned ones.

With a pattern, this choice gives the density of each layer, which `Pattern.plan` rounds. Within a layer, the units with
the largest mean scores stay active.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...common.checks import integer
from ...errors import UserError
from ...masks import Masks
from ...sparsity import Plan, prices
from ..base import Sparsifier
from ..probe import Probe


class PruningAtInit(Sparsifier):
    """Base of the methods. A subclass defines `scores`.

    Args:
        batches: Number of training batches for the scores.
        iterations: Rounds of scoring and pruning. Each round reduces the cost of the active weights by the same factor
            (FORCE, section 4; SynFlow, algorithm 1).
    """

    def __init__(self, batches: int, iterations: int = 1):
        self.batches = integer("sparsifier.batches", batches, 1)
        self.iterations = integer("sparsifier.iterations", iterations, 1)

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        """Return the scores of all weights, by layer.

        Args:
            weights: Untrained weights of the masked layers, without masks.
            masks: Masks of the previous round; all ones in the first round.
            probe: The network with training batches.
        """
        raise NotImplementedError

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        if probe is None:
            raise UserError(f"{type(self).__name__} computes its masks from training batches: `start` needs a probe")
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
    """Return masks of the weights with the largest scores in the network within a budget; of equal scores the first.

    Args:
        scores: Scores of the weights, by layer.
        price: Price of one weight, by layer.
        budget: Maximum price of all chosen weights.

    Raises:
        UserError: A score is not finite, or all are zero.
    """
    ranked = torch.cat([score.flatten() for score in scores.values()])
    if not bool(ranked.isfinite().all()):
        raise UserError("the scores of the weights are not finite: the network cannot be pruned before training")
    if not bool(ranked.any()):
        raise UserError(
            "the scores of all weights are zero: perhaps a layer, such as the last one, is initialized to zero"
        )
    order = ranked.argsort(descending=True, stable=True)
    paid = torch.cat([torch.full((score.numel(),), price[name], device=score.device) for name, score in scores.items()])
    count = int((paid[order].cumsum(0) <= budget).sum())
    chosen = torch.zeros_like(ranked, dtype=torch.bool)
    chosen[order[:count]] = True
    parts = chosen.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape) for (name, score), part in zip(scores.items(), parts, strict=True)}
