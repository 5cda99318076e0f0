"""How masks wander: what of a mask was ever active, always active, moved away from where it began.

Masks are packed bits here (see `masks.pack`), one byte for eight weights, and stay on the device of the weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .bits import ones, pack
from .masks import Masks

MEASURES = ("density", "replaced", "itop", "constraint", "hamming", "dead_channels")
"""Shares, of a layer or of all layers:

density: weights that are active. replaced: active weights that were not when masks were last observed. itop: weights
that were ever active (In-Time Over-Parameterization, Liu et al., ICML 2021). constraint: weights that were always
active ("degrees of constraint" in the authors' code). hamming: weights that are not as in the first mask.
dead_channels: output channels without an active weight.
"""


def dead_channels(mask: Tensor) -> Tensor:
    """The number of output channels without an active weight, of a boolean mask (out, ...); without dimensions."""
    return (~mask.flatten(1).any(1)).sum()


class MaskHistory:
    """The first mask, the union and the intersection of all masks seen, and the last one, of every layer.

    Its state is packed bits, so a history that is saved and loaded goes on with the same numbers.
    """

    PARTS = ("first", "union", "intersection", "last")

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}
        self.union: dict[str, Tensor] = {}
        self.intersection: dict[str, Tensor] = {}
        self.last: dict[str, Tensor] = {}

    def observe(self, masks: Masks | Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Add the masks (boolean, by layer) as they are now. Returns MEASURES of the network and of each layer; the
        device is waited for once."""
        counted, sizes = [], []
        for name in masks:
            mask = masks[name]
            counted.append(self._count(name, mask))
            sizes.append((mask.numel(), len(mask)))
        counts = torch.stack(counted).tolist()
        layers = {name: _shares(row, *size) for name, row, size in zip(masks, counts, sizes, strict=True)}
        return _shares(_sums(counts), *_sums(sizes)), layers

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return {part: dict(getattr(self, part)) for part in self.PARTS}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for part in self.PARTS:
            setattr(self, part, dict(state[part]))

    def _count(self, name: str, mask: Tensor) -> Tensor:
        """How many weights MEASURES count in a layer, before they are divided."""
        now = pack(mask)
        first, union, intersection, last = (getattr(self, part).get(name, now).to(now.device) for part in self.PARTS)
        self.first[name], self.last[name] = first, now
        self.union[name], self.intersection[name] = union | now, intersection & now
        sets = (now, now & ~last, self.union[name], self.intersection[name], first ^ now)
        return torch.stack([*map(ones, sets), dead_channels(mask)])


def _sums(rows: Iterable[Iterable[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _shares(counts: Iterable[int], weights: int, channels: int) -> dict[str, float]:
    active, new, ever, always, moved, dead = counts
    shares = (active / weights, new / max(1, active), ever / weights, always / weights, moved / weights)
    return dict(zip(MEASURES, (*shares, dead / channels), strict=True))
