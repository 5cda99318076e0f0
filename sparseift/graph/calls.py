"""A call of a torch function in a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Value:
    """Stands for a tensor of the trace among the arguments of a call.

    Attributes:
        number: The number of the tensor.
    """

    number: int


@dataclass(frozen=True)
class Call:
    """A torch function call.

    Attributes:
        index: Its place among the calls of the trace.
        module: The innermost module that was running.
        inputs: Numbers of the tensors that it read.
        outputs: Numbers of the tensors that it wrote.
        arguments: Positional and keyword arguments, with a `Value` for each of these tensors; of elementwise functions
            only.
    """

    index: int
    func: Callable
    module: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: tuple[tuple, dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """Name of the function without underscores."""
        return name_of(self.func)

    @property
    def reads_parameters(self) -> bool:
        """Whether it reads tensors that do not come from the network's inputs."""
        args, kwargs = self.arguments or ((), {})
        return any(isinstance(argument, Tensor) for argument in (*args, *kwargs.values()))


def name_of(func: Callable) -> str:
    """Return the name of a torch function without underscores: `mul` for `Tensor.mul_` and `Tensor.__mul__`."""
    return getattr(func, "__name__", "").strip("_")
