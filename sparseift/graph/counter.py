"""FLOPs of matrix products and convolutions, as torch's own counter has them."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts the FLOPs of the matrix products and convolutions that run in its context.

    Operators that torch composes of others, such as einsum, are counted by their parts.

    Attributes:
        flops: FLOPs since the attribute was last set to 0; 2 per multiply-accumulate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch would import its compiler

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if formula := flop_registry.get(func.overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=result)
        return result
