"""The interface of a backend: what computes with the masks.

The dense weight with exact zeros outside its mask is the truth that checkpoints, exports and other backends see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import nn

from ..masks import Masks


class Backend(Protocol):
    """Computes the masked layers of a network, forward and backward."""

    def refusal(self, layer: nn.Module, pattern: object) -> str | None:
        """Return why the backend can't compute this layer under this pattern, or None if it can."""
        ...

    def attach(self, net: nn.Module, masks: Masks) -> None:
        """Take over the masked layers: before training, and after a checkpoint is loaded. Weights outside the masks
        become zero."""
        ...

    def moved(self, names: Iterable[str]) -> None:
        """Take note that the masks of these layers have changed."""
        ...

    def dense_gradients(self, wanted: bool) -> None:
        """State before a backward pass whether the gradients of masked weights will be read."""
        ...

    def mask_gradients(self) -> None:
        """Set the gradients of masked weights to zero: once a step, when gradients are final."""
        ...

    def detach(self, net: nn.Module) -> None:
        """Restore plain modules."""
        ...
