"""Dense kernels: weights and gradients outside the masks are zero, and are multiplied like others."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from ..masks import Masks


class Masked:
    """Computes every layer of every pattern with torch's own dense kernels."""

    def refusal(self, layer: nn.Module, pattern: object) -> str | None:
        return None

    def attach(self, net: nn.Module, masks: Masks) -> None:
        self._masks = masks
        masks.to_weights()
        masks.apply()

    def moved(self, names: Iterable[str]) -> None:
        """Nothing to do: weights that left their mask are zero already."""

    def dense_gradients(self, wanted: bool) -> None:
        """Nothing to do: dense kernels always compute them."""

    def mask_gradients(self) -> None:
        self._masks.mask_gradients()

    def detach(self, net: nn.Module) -> None:
        """Nothing to do: the modules are plain ones."""
