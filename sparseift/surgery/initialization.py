"""Initial values of new weights, drawn from the distribution from which the network's own weights were drawn.

It is estimated from these: the standard deviation as a function of fan-in or fan-out, and the kind, normal or uniform.
Fans are those of the stored weight, whatever its density (authors' code).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod, sqrt

import torch
from torch import Tensor, nn

from ..graph.layers import AnyLayer


@dataclass(frozen=True)
class Law:
    """A variance of gain2 / fan.

    Attributes:
        fan: 'out', 'in' or 'avg', as in torch.nn.init.
        gain2: 2 for He, 1 for LeCun and Xavier, 1/3 for the default of torch's layers.
    """

    fan: str
    gain2: float

    def std(self, shape: torch.Size) -> float:
        """Return the standard deviation of a weight of this shape."""
        return sqrt(self.gain2 / fan_of(shape, self.fan))


LAWS = tuple(Law(fan, gain2) for gain2 in (2.0, 1.0, 1 / 3) for fan in ("out", "in", "avg"))
LEAST_SHARE = 0.1  # of the weight of a repeated input, relative to the largest share
UNIFORM_PEAK = 1.75  # in standard deviations: the largest |w| is below it if uniform (sqrt 3), above it if normal


def fan_of(shape: torch.Size, fan: str) -> float:
    """Return the fan of a weight of this shape; 'avg' is the mean of fan-in and fan-out."""
    field = prod(shape[2:])
    fans = {"in": shape[1] * field, "out": shape[0] * field}
    return fans[fan] if fan in fans else (fans["in"] + fans["out"]) / 2


class Initializer:
    """Draws weights like those of the layers of one network. On the meta device it returns empty ones."""

    def __init__(self, layers: Iterable[AnyLayer]):
        weights = [layer.weight.detach() for layer in layers if not layer.weight.is_meta and layer.weight.dim() > 1]
        self._stds = [(std, weight.numel()) for weight in weights if (std := float(weight.std(correction=0)))]
        self._votes = Counter(law for weight in weights for law in _laws_of(weight))

    def weight(self, like: Tensor, shape: tuple[int, ...], alive: bool = False) -> nn.Parameter:
        """Return a new weight, with the layout in memory of a matrix that is transposed.

        Args:
            like: The weight whose distribution it follows.
            alive: If `like` is constant, follow the most frequent law of the network instead.
        """
        transposed = like.dim() == 2 and like.stride(0) < like.stride(1)
        new = torch.empty(shape[::-1] if transposed else shape, dtype=like.dtype, device=like.device)
        new = new.T if transposed else new
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
        """The most frequent law that fits a weight; None if more layers have just its standard deviation."""
        laws = _laws_of(like) if std else tuple(self._votes)
        law = max(laws, key=lambda law: self._votes[law], default=None)
        alike = sum(abs(std / other - 1) < _tolerance(numel) for other, numel in self._stds)
        return law if law and self._votes[law] >= alike else None


def _laws_of(weight: Tensor) -> tuple[Law, ...]:
    """The laws that fit the standard deviation of a weight, to within four standard errors of its estimate."""
    if weight.is_meta or weight.dim() < 2:
        return ()
    std = float(weight.detach().std(correction=0))
    tolerance = _tolerance(weight.numel())
    return tuple(law for law in LAWS if abs(std / law.std(weight.shape) - 1) < tolerance)


def _tolerance(numel: int) -> float:
    return 4 / sqrt(2 * numel) + 0.01


def split(weight: Tensor, repeated: int, dim: int) -> Tensor:
    """Return a weight with `repeated` input channels along `dim`, which computes the same from repeated inputs.

    The repeats of an input share its weight at random, so that no two channels of the result are the same (as in
    Net2Net, Chen et al., ICLR 2016, section 2.4, where noise and equal shares have this purpose).
    """
    shape = (*weight.shape[:dim], repeated, *weight.shape[dim + 1 :])
    if weight.is_meta:
        return weight.new_empty(shape)
    index = torch.arange(repeated, device=weight.device) * weight.shape[dim] // repeated
    drawn = torch.rand(shape, dtype=weight.dtype, device=weight.device) + LEAST_SHARE
    total = torch.zeros_like(weight).index_add_(dim, index, drawn)
    return (weight * (1 / total)).index_select(dim, index) * drawn


def stretched(values: Tensor, length: int, dim: int = 0) -> Tensor:
    """Return a tensor, or parameter, with another length along `dim`: its values repeated in order."""
    index = torch.arange(length, device="cpu") * values.shape[dim] // length  # arange is far slower on meta
    new = values.detach().index_select(dim, index.to(values.device))
    return nn.Parameter(new, requires_grad=values.requires_grad) if isinstance(values, nn.Parameter) else new
