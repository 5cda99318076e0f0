"""Counts operations, and those among them whose result the host waits for.

There is no accelerator in a test, but what would wait for one can be seen on a CPU: reading a number off a tensor,
finding non-zeros, going to the host.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {"_local_scalar_dense", "nonzero", "masked_select", "unique2", "_unique2", "unique_consecutive", "bincount"}
READS |= {"equal", "is_nonzero", "repeat_interleave"}
"""Operations whose result, or the shape of it, the host needs. `repeat_interleave` of an integer is another one."""

TO_HOST = {"cpu", "tolist"}
"""Functions of tensors that copy to the host, which operations of a CPU don't show."""


class Waits:
    """A context that counts.

    Attributes:
        operations: Number of operations.
        waits: Names of those that the host waits for, one for each call.
        exchanges: Names of those by which ranks exchange tensors.
    """

    def __init__(self) -> None:
        self.operations = 0
        self.waits: list[str] = []
        self.exchanges: list[str] = []
        self._modes = [_Operations(self), _Functions(self)]

    def __enter__(self) -> Waits:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(None, None, None)


class _Operations(TorchDispatchMode):
    def __init__(self, counts: Waits) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        name = function.overloadpacket._qualified_op_name.partition("::")[2]
        self.counts.operations += 1
        boolean = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in tree_leaves(args[1:])
        )
        if function.namespace == "c10d":
            self.counts.exchanges.append(name)
        if name in READS or boolean:
            self.counts.waits.append(name)
        return function(*args, **kwargs or {})


class _Functions(TorchFunctionMode):
    def __init__(self, counts: Waits) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, function, types, args=(), kwargs=None) -> Any:
        name = getattr(function, "__name__", "")
        to_cpu = name == "to" and "cpu" in [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, str)]
        if name in TO_HOST or to_cpu:
            self.counts.waits.append(name)
        return function(*args, **kwargs or {})
