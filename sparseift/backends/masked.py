"""Dense kernels on weights and gradients that are zero where masked."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from ..masks import Masks
from ..masks.patterns import Pattern


class Masked:
    """Computes every layer with torch's dense kernels."""

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        return None

    def attach(self, net: nn.Module, masks: Masks) -> None:
        self._masks = masks

    def moved(self, names: Iterable[str]) -> None:
        """Do nothing: dropped weights are zero already."""

    def dense_gradients(self, wanted: bool) -> None:
        """Do nothing: dense kernels compute all gradients."""

    def mask_gradients(self) -> None:
        self._masks.mask_gradients()

    def detach(self, net: nn.Module) -> None:
        """Do nothing: `attach` replaces no module."""
