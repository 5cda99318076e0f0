"""The interface of a backend."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import nn

from ..masks import Masks
from ..masks.patterns import Pattern


@runtime_checkable
class Backend(Protocol):
    """Computes the masked layers of a network, forward and backward.

    Optimizers, checkpoints and exports read the dense weight tensors, which are zero outside their masks.

    `MaskCallback` calls `refusal` for each masked layer, then `attach`. It calls `dense_gradients` for each batch, and
    for each optimizer step `moved`, if masks have changed, and `mask_gradients`. At the end, it calls `detach`.
    """

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        """Return why the backend cannot compute this layer with this pattern, or None if it can.

        Training leaves such a layer to dense kernels. It ends if the backend can compute none.
        """
        ...

    def attach(self, net: nn.Module, masks: Masks) -> None:
        """Take over the masked layers but those refused. The masks are the initial ones or those of a checkpoint."""
        ...

    def moved(self, names: Iterable[str]) -> None:
        """React to new masks of these layers."""
        ...

    def dense_gradients(self, wanted: bool) -> None:
        """Prepare a forward and backward pass, with the gradients of masked weights if they are `wanted`."""
        ...

    def mask_gradients(self) -> None:
        """Set the gradients of masked weights to zero, before they are clipped and applied."""
        ...

    def detach(self, net: nn.Module) -> None:
        """Restore the modules of the network."""
        ...
