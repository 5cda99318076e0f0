"""Distributions of density over layers.

The density of a layer is its relative density times a factor common to all layers, and at most 1. The factor follows
from the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol, runtime_checkable


@runtime_checkable
class Distribution(Protocol):
    """Distribution of density over layers."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        """Return the relative density of a weight.

        Args:
            shape: `(out, in / groups, *kernel)`.
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
    """Erdos-Renyi: ERK with only the channel dimensions (SET; RigL, section 3)."""

    def relative_density(self, shape: tuple[int, ...]) -> float:
        return (shape[0] + shape[1]) / (shape[0] * shape[1])
