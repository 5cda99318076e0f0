"""Dense kernels: masked weights and gradients are zero, and are multiplied like all others."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from ..masks import Masks
from ..masks.patterns import Pattern


class Masked:
    """Computes every layer under every pattern with torch's own dense kernels."""

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        return None

    def attach(self, net: nn.Module, masks: Masks) -> None:
        self._masks = masks

    def moved(self, names: Iterable[str]) -> None:
        """Nothing to do: weights that left their mask are zero already."""

    def dense_gradients(self, wanted: bool) -> None:
        """Nothing to do: dense kernels always compute them."""

    def mask_gradients(self) -> None:
        self._masks.mask_gradients()

    def detach(self, net: nn.Module) -> None:
        """Nothing to do: the modules are plain ones."""
