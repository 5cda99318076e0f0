"""How the density is spread over layers: each distribution states the relative density of a layer from its shape.

The plan scales these by one common factor, cut off at 1, until the budget is met; layers that would exceed 1 stay
dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol


class Distribution(Protocol):
    def relative_density(self, shape: tuple[int, ...]) -> float:
        """Density of a weight of this shape, up to a factor common to all layers. shape: (out, in / groups,
        *kernel)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """The same density in every masked layer (the paper's choice)."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return 1.0


@dataclass(frozen=True)
class ERK:
    """Erdos-Renyi-Kernel: density in proportion to (sum of all dimensions) / (their product), to a power (RigL,
    section 3)."""

    power: float = 1.0

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return (sum(shape) / prod(shape)) ** self.power


@dataclass(frozen=True)
class ER:
    """Erdos-Renyi: as ERK but from the channel dimensions alone (SET; RigL, section 3)."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return (shape[0] + shape[1]) / (shape[0] * shape[1])
