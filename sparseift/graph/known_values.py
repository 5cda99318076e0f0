"""Values of integer and boolean tensors in runs on the meta device.

Code asks for such values: whether a mask has a zero, or how long the longest sequence is. A run computes the integer
tensors that depend on no parameter, such as positions and masks, on the CPU, too. The integers that the network is
called with, such as tokens and masks, are taken for ones.

Other values are those that a run with values has read (see `read_values`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .examples import tensor_leaves
from .pytree import tree_map

READERS = {"item", "tolist", "__bool__", "__int__", "__index__", "__float__"}
"""Functions that return values of a tensor as Python numbers."""

COMPARISONS = {"equal", "allclose", "is_nonzero"}
"""Functions of tensors that return a boolean."""

FACTORIES = {
    *(torch.arange, torch.linspace, torch.logspace, torch.eye, torch.full, torch.zeros, torch.ones, torch.empty),
    *(torch.tensor, torch.as_tensor, torch.scalar_tensor, torch.rand, torch.randn, torch.randint, torch.randperm),
    *(torch.tril_indices, torch.triu_indices),
}
"""Functions that make tensors on a default device."""


def is_reader(func: Callable) -> bool:
    """Return whether a function returns values of tensors as Python numbers."""
    return getattr(func, "__name__", "") in READERS | COMPARISONS


class KnownValues(TorchFunctionMode):
    """Knows the values of integer tensors on the meta device.

    Args:
        inputs: The tensors that the network is called with.
        read: The values that the code reads, in this order. Tensors that code makes without a device are then on the
            meta device, too. None: only the values of integer tensors can be read.
    """

    def __init__(self, inputs: list[Tensor], read: Sequence[Any] | None = None):
        super().__init__()
        self._on_meta = read is not None
        self._read = iter(read or ())
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # by id(): the tensor, which keeps its id, and its value
        for tensor in inputs:
            if tensor.is_meta and _whole(tensor):
                self._known[id(tensor)] = tensor, torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self._on_meta and func in FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        if is_reader(func):
            for value in self._read:
                return value
        if name in READERS and id(args[0]) in self._known:
            return func(self._known[id(args[0])][1], *args[1:], **kwargs)
        result = func(*args, **kwargs)
        if name == "__setitem__" and id(args[0]) in self._known:
            if self._computed(func, args, kwargs) is None:
                del self._known[id(args[0])]
        elif isinstance(result, Tensor | tuple | list):
            self._follow(func, args, kwargs, tensor_leaves(result))
        return result

    def _follow(self, func, args: tuple, kwargs: dict[str, Any], results: list[Tensor]) -> None:
        """Compute the values of the results of a call, if all that it reads is known."""
        if results and all(tensor.is_meta and _whole(tensor) for tensor in results):
            values = self._computed(func, args, kwargs)
            for place, tensor in enumerate(results):
                self._known.pop(id(tensor), None)
                if values is not None and len(values) == len(results):
                    self._known[id(tensor)] = tensor, values[place]

    def _computed(self, func, args: tuple, kwargs: dict[str, Any]) -> list[Tensor] | None:
        """The results of a call on the CPU; None if a tensor that it reads is unknown."""
        if any(leaf.is_meta and id(leaf) not in self._known for leaf in tensor_leaves((args, kwargs))):
            return None

        def real(leaf: Any) -> Any:
            if isinstance(leaf, torch.device | str) and str(leaf) == "meta":
                return "cpu"
            return self._known[id(leaf)][1] if isinstance(leaf, Tensor) and leaf.is_meta else leaf

        args, kwargs = tree_map(real, (args, kwargs))
        try:
            with torch.device("cpu"):
                return tensor_leaves(func(*args, **kwargs))
        except Exception:  # such as that of a function within torch.vmap
            return None


def _whole(tensor: Tensor) -> bool:
    """Whether a tensor has integers or booleans."""
    return not (tensor.is_floating_point() or tensor.is_complex())
