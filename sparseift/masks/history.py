"""How masks change during training: which weights were ever active, always active, or differ from the first mask.

Masks are stored as packed bits (see `bits.pack`), one byte for eight weights, on the device of the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .bits import ones, pack
from .masks import Masks

HISTORY_MEASURES = ("density", "replaced", "itop", "constraint", "hamming", "dead_channels")
"""Fractions of the weights of a layer, or of all masked layers:

- density: active weights.
- replaced: active weights that were masked at the previous observation, as a fraction of the active weights.
- itop: weights that were ever active (In-Time Over-Parameterization, Liu et al., ICML 2021).
- constraint: weights that were always active ("degrees of constraint" in the authors' code).
- hamming: weights that are active in the first mask or in the present mask, but not in both.
- dead_channels: output channels without an active weight, as a fraction of the output channels.
"""


def dead_channels(mask: Tensor) -> Tensor:
    """Return the number of output channels without an active weight, as a scalar tensor.

    Args:
        mask: Boolean, of shape (out, ...).
    """
    return (~mask.flatten(1).any(1)).sum()


class MaskHistory:
    """For every layer: the first mask, the last mask, and the union and the intersection of all observed masks."""

    PARTS = ("first", "union", "intersection", "last")

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self.union: dict[str, Tensor] = {}
        self.intersection: dict[str, Tensor] = {}
        self.last: dict[str, Tensor] = {}

    def observe(self, masks: Masks | Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Add the present masks to the history and measure them. Synchronizes with the device once.

        Args:
            masks: Boolean masks, by layer name.

        Returns:
            HISTORY_MEASURES of all layers together, and of each layer.
        """
        counted, sizes = [], []
        for name in masks:
            mask = masks[name]
            counted.append(self._count(name, mask))
            sizes.append((mask.numel(), len(mask)))
        counts = torch.stack(counted).tolist()
        layers = {name: _fractions(row, *size) for name, row, size in zip(masks, counts, sizes, strict=True)}
        return _fractions(_sums(counts), *_sums(sizes)), layers

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return {part: dict(getattr(self, part)) for part in self.PARTS}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for part in self.PARTS:
            setattr(self, part, dict(state[part]))

    def _count(self, name: str, mask: Tensor) -> Tensor:
        """The numerators of HISTORY_MEASURES for a layer."""
        now = pack(mask)
        first, union, intersection, last = (getattr(self, part).get(name, now).to(now.device) for part in self.PARTS)
        self.first[name], self.last[name] = first, now
        self.union[name], self.intersection[name] = union | now, intersection & now
        sets = (now, now & ~last, self.union[name], self.intersection[name], first ^ now)
        return torch.stack([*map(ones, sets), dead_channels(mask)])


def _sums(rows: Iterable[Iterable[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _fractions(counts: Iterable[int], weights: int, channels: int) -> dict[str, float]:
    active, new, ever, always, moved, dead = counts
    fractions = (active / weights, new / max(1, active), ever / weights, always / weights, moved / weights)
    return dict(zip(HISTORY_MEASURES, (*fractions, dead / channels), strict=True))
