"""Watch a network run: the torch functions that it calls, and the modules that run when it calls them."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from ..common.messages import one_line
from .copies import names_in
from .examples import tensor_leaves
from .known_values import KnownValues
from .meta_kernels import Shapes

unwatched = torch._C.DisableTorchFunction
"""Context in which torch functions are not watched. Modes have no public switch."""


class Failed(Exception):
    """The network's code, or a torch function that it called, raised an exception: the cause of this one.

    Attributes:
        module: Name of the innermost module that was running; empty for the network itself.
        kind: Class name of that module.
    """

    def __init__(self, error: Exception, module: str, kind: str):
        super().__init__(one_line(error, whole=False))
        self.module, self.kind = module, kind


class _Carried(BaseException):
    """Stands for an exception of a watcher, which `except Exception` in the network's code must not catch."""


class Watching(TorchFunctionMode):
    """Runs a network and sees every torch function that it calls.

    A subclass defines `__torch_function__`, with its own code in `own_code`.

    Args:
        net: The network.
        read: The values that its code reads (see `KnownValues`).

    Attributes:
        names: The name of each module.
    """

    def __init__(self, net: nn.Module, read: Sequence[Any] | None = None):
        super().__init__()
        self.net = net
        self.read = read
        self.names = names_in(net)

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call the network without gradients, and with the same random numbers in every run.

        Returns:
            The output of the network.

        Raises:
            Failed: The network's code or a torch function that it called raised an exception.
            Exception: The watcher's own code raised it.
        """
        self._stack: list[nn.Module] = []
        self._own_error: Exception | None = None
        self._raised: tuple[BaseException | None, nn.Module] = (None, self.net)
        hooks = [module.register_forward_pre_hook(self._before, with_kwargs=True) for module in self.names]
        hooks += [module.register_forward_hook(self._after, always_call=True) for module in self.names]
        try:
            known = KnownValues(tensor_leaves((args, kwargs)), self.read)
            with torch.no_grad(), same_random_numbers(), known, Shapes(self.own_code), self:
                output = self.net(*args, **kwargs)
        except _Carried:
            pass
        except Exception as error:
            if self._own_error is None:
                module = self._raised[1] if error is self._raised[0] else self.net
                raise Failed(error, self.names[module], type(module).__name__) from error
        finally:
            for hook in hooks:
                hook.remove()
        if self._own_error is not None:
            raise self._own_error
        return output

    @contextmanager
    def own_code(self) -> Iterator[None]:
        """Context for the watcher's code: `run` raises its exceptions, whatever the network's code makes of them."""
        try:
            yield
        except Exception as error:
            self._own_error = self._own_error or error
            raise _Carried from error

    @property
    def innermost(self) -> nn.Module:
        """The innermost module that is running."""
        return self._stack[-1] if self._stack else self.net

    def here(self) -> str:
        """Return the name of the innermost module that is running; empty for the network itself."""
        return self.names[self.innermost]

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Called before a module runs."""

    def left(self, module: nn.Module, output: Any) -> None:
        """Called after a module has run, with None as its output if it raised an exception."""

    def _before(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        with self.own_code(), unwatched():
            self._stack.append(module)
            self.entered(module, args, kwargs)

    def _after(self, module: nn.Module, args: tuple, output: Any) -> None:
        with self.own_code(), unwatched():
            if (error := sys.exc_info()[1]) is not self._raised[0]:
                self._raised = (error, module)
            self.left(module, output)
            self._stack.pop()


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Context in which code draws the same random numbers whenever it runs. The caller's generators are restored."""
    states, numpy = (torch.get_rng_state(), random.getstate()), sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    try:
        torch.default_generator.manual_seed(0)  # torch.manual_seed would also seed the devices
        random.seed(0)
        if numpy:
            numpy.random.seed(0)
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy:
            numpy.random.set_state(of_numpy)


def storage(tensor: Tensor) -> int:
    """Return a number that tensors share if they share memory, on the meta device too."""
    with unwatched():
        return StorageWeakRef(tensor.untyped_storage()).cdata


def shapes(tensors: list[Tensor]) -> list[torch.Size]:
    """Return the shape of each tensor."""
    with unwatched():
        return [tensor.shape for tensor in tensors]
