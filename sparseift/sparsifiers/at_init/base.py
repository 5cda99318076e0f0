"""Pruning at initialisation: the masks come from scores of the untrained network, and never move.

As in the papers, the weights of largest score in the whole network stay, whatever layer they are in; but as many of
them as the plan's budget pays for: its FLOPs where the plan meets those of a dense network, its number of active
weights where it states a sparsity (see `prices`). What is left over is less than the price of one weight. The layers'
own counts, and with them the active parameters of a FLOP-matched network, therefore differ from the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import UserError
from ...masks.masks import Masks
from ...sparsity.plan import Plan, prices
from ..base import Sparsifier
from ..probe import Probe


class PrunedAtStart(Sparsifier):
    """A method states its `scores`. batches: training batches that they are computed from. iterations: rounds of
    scoring and pruning, in which what is active shrinks by equal factors (FORCE, section 4; SynFlow, algorithm 1)."""

    def __init__(self, batches: int, iterations: int = 1):
        for option, value in (("batches", batches), ("iterations", iterations)):
            if not isinstance(value, int) or value < 1:
                raise UserError(f"sparsifier.{option} is {value}; a whole number, 1 or more, is meant")
        self.batches = batches
        self.iterations = iterations

    def scores(self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], probe: Probe) -> dict[str, Tensor]:
        """Of every weight, by layer. weights: all of them, untrained. masks: what is still active."""
        raise NotImplementedError

    def start(self, masks: Masks, plan: Plan, seed: int, probe: Probe | None = None) -> None:
        if probe is None:
            raise UserError(f"{type(self).__name__} computes its masks from training batches: give `start` a probe")
        price = prices(plan)
        full = sum(price[name] * layer.numel for name, layer in plan.masked.items())
        end = sum(price[name] * layer.active for name, layer in plan.masked.items())
        weights = {name: weight.detach() for name, weight in masks.weights.items()}
        chosen = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
        for iteration in range(1, self.iterations + 1):
            budget = end if iteration == self.iterations else int(full * (end / full) ** (iteration / self.iterations))
            chosen = best_within(self.scores(weights, chosen, probe), price, budget)
        for name, mask in chosen.items():
            masks[name] = mask


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
