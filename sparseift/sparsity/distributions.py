"""Distributions of density over layers: each gives the relative density of a layer from its shape.

The plan multiplies these by one common factor, with a maximum of 1, such that the budget is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol


class Distribution(Protocol):
    """How density is spread over layers."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        """Return the density of a weight up to a factor common to all layers.

        Args:
            shape: (out, in / groups, *kernel).
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """The same density in every masked layer (the paper's choice)."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return 1.0


@dataclass(frozen=True)
class ERK:
    """Erdos-Renyi-Kernel: density proportional to (sum of dimensions / their product) ** power (RigL, section 3)."""

    power: float = 1.0

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return (sum(shape) / prod(shape)) ** self.power


@dataclass(frozen=True)
class ER:
    """Erdos-Renyi: ERK with the channel dimensions alone (SET; RigL, section 3)."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return (shape[0] + shape[1]) / (shape[0] * shape[1])
