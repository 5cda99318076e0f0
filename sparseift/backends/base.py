"""The interface of a backend: what computes the masked layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn

from ..masks import Masks
from ..masks.patterns import Pattern


@runtime_checkable
class Backend(Protocol):
    """Computes the masked layers of a network, forward and backward.

    The dense weight tensor, zero outside its mask, stays the truth: optimizers, checkpoints and exports read it.

    The mask callback makes all calls: `refusal` for every masked layer, `attach`, then for every batch
    `dense_gradients` and for every optimizer step `moved` if masks changed and `mask_gradients`, and finally `detach`.
    """

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        """Return why the backend cannot compute this layer under this pattern, or None if it can."""
        ...

    def attach(self, net: nn.Module, masks: Masks) -> None:
        """Take over the masked layers. The masks are the first ones, or those of a checkpoint, and masked weights are
        zero."""
        ...

    def moved(self, names: Iterable[str]) -> None:
        """Take note that the masks of these layers have changed."""
        ...

    def dense_gradients(self, wanted: bool) -> None:
        """Take note, before a forward and backward pass, whether the gradients of masked weights will be read."""
        ...

    def mask_gradients(self) -> None:
        """Set the gradients of masked weights to zero. Gradients are final, and clipped and applied afterwards."""
        ...

    def detach(self, net: nn.Module) -> None:
        """Restore plain modules."""
        ...
