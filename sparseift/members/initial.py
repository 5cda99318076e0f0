"""Initial values for new weights, drawn by the law that the network's own initialisation follows.

A transformation makes weights of new shapes. How the network initialises itself is seen in the weights that it has:
their scale, as a function of fan-in or fan-out, and their shape, normal or uniform. Fans are those of the stored
weight; density does not enter (as in the authors' code).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Law:
    """Variance = gain2 / fan. fan: 'out', 'in' or 'avg' as in torch.nn.init; gain2: 2 for He, 1 for LeCun and Xavier,
    1/3 for the default of torch's own layers."""

    fan: str
    gain2: float

    def std(self, shape: torch.Size) -> float:
        return sqrt(self.gain2 / fan_of(shape, self.fan))


LAWS = tuple(Law(fan, gain2) for gain2 in (2.0, 1.0, 1 / 3) for fan in ("out", "in", "avg"))
UNIFORM_PEAK = 1.75  # |w| of a uniform law never exceeds sqrt(3) standard deviations; a normal one does at once


def fan_of(shape: torch.Size, fan: str) -> float:
    field = prod(shape[2:])
    fans = {"in": shape[1] * field, "out": shape[0] * field}
    return fans[fan] if fan in fans else (fans["in"] + fans["out"]) / 2


class Initializer:
    """Draws weights like those of the layers of one network. On the meta device there is nothing to see or to
    draw."""

    def __init__(self, layers: Iterable[nn.Module]):
        fitting = [laws for layer in layers if (laws := _laws_of(layer.weight))]
        self._votes = Counter(law for laws in fitting for law in laws)

    def weight(self, like: Tensor, shape: tuple[int, ...]) -> nn.Parameter:
        """A new weight of `shape` by the law of the weight `like`."""
        new = torch.empty(shape, dtype=like.dtype, device=like.device)
        if not new.is_meta:
            with torch.no_grad():
                self._draw(new, like)
        return nn.Parameter(new, requires_grad=like.requires_grad)

    def _draw(self, new: Tensor, like: Tensor) -> None:
        std = float(like.std(correction=0))
        if std == 0:
            new.fill_(like.flatten()[0])
            return
        uniform = float(like.abs().max()) < UNIFORM_PEAK * std
        laws = _laws_of(like)
        if laws:
            std = max(laws, key=lambda law: self._votes[law]).std(new.shape)
        if uniform:
            new.uniform_(-sqrt(3) * std, sqrt(3) * std)
        else:
            new.normal_(0, std)


def _laws_of(weight: Tensor) -> tuple[Law, ...]:
    """The laws whose standard deviation the weight shows, to within four standard errors of its estimate."""
    if weight.is_meta or weight.dim() < 2:
        return ()
    std = float(weight.detach().std(correction=0))
    tolerance = 4 / sqrt(2 * weight.numel()) + 0.01
    return tuple(law for law in LAWS if abs(std / law.std(weight.shape) - 1) < tolerance)


def stretched(values: Tensor, length: int, dim: int = 0) -> Tensor:
    """Values of a per-channel tensor for another number of channels: constants stay constant, others are repeated in
    order."""
    index = torch.arange(length, device=values.device) * values.shape[dim] // length
    return values.detach().index_select(dim, index)
