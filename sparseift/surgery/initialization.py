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
    """Draws weights like those of the layers of one network. On the meta device there is nothing to see or to draw."""

    def __init__(self, layers: Iterable[nn.Module]):
        weights = [layer.weight.detach() for layer in layers if not layer.weight.is_meta and layer.weight.dim() > 1]
        self._stds = [(std, weight.numel()) for weight in weights if (std := float(weight.std(correction=0)))]
        self._votes = Counter(law for weight in weights for law in _laws_of(weight))

    def weight(self, like: Tensor, shape: tuple[int, ...], alive: bool = False) -> nn.Parameter:
        """A new weight of `shape` by the law of `like`. alive: where that is zero, by the network's usual law."""
        new = torch.empty(shape, dtype=like.dtype, device=like.device)
        if not new.is_meta:
            with torch.no_grad():
                self._draw(new, like, alive)
        return nn.Parameter(new, requires_grad=like.requires_grad)

    def _draw(self, new: Tensor, like: Tensor, alive: bool) -> None:
        std = float(like.std(correction=0))
        if std == 0 and not (alive and self._votes):
            new.fill_(like.flatten()[0])
            return
        uniform = 0 < float(like.abs().max()) < UNIFORM_PEAK * std
        law = self._law(like, std)
        if law:
            std = law.std(new.shape)
        if uniform:
            new.uniform_(-sqrt(3) * std, sqrt(3) * std)
        else:
            new.normal_(0, std)

    def _law(self, like: Tensor, std: float) -> Law | None:
        """The law of a weight that most of the network follows too; None where more layers share its very scale."""
        laws = _laws_of(like) if std else tuple(self._votes)
        law = max(laws, key=lambda law: self._votes[law], default=None)
        alike = sum(abs(std / other - 1) < _tolerance(numel) for other, numel in self._stds)
        return law if law and self._votes[law] >= alike else None


def _laws_of(weight: Tensor) -> tuple[Law, ...]:
    """The laws whose standard deviation the weight shows, to within four standard errors of its estimate."""
    if weight.is_meta or weight.dim() < 2:
        return ()
    std = float(weight.detach().std(correction=0))
    tolerance = _tolerance(weight.numel())
    return tuple(law for law in LAWS if abs(std / law.std(weight.shape) - 1) < tolerance)


def _tolerance(numel: int) -> float:
    return 4 / sqrt(2 * numel) + 0.01


def stretched(values: Tensor, length: int, dim: int = 0) -> Tensor:
    """Values of a per-channel tensor for another number of channels: constants stay constant, others are repeated in
    order. A parameter comes out as one."""
    index = torch.arange(length, device="cpu") * values.shape[dim] // length  # on meta it is a quarter of `sparsify`
    new = values.detach().index_select(dim, index.to(values.device))
    return nn.Parameter(new, requires_grad=values.requires_grad) if isinstance(values, nn.Parameter) else new
