"""Watch a network run: the torch functions that it calls, and the modules that run when it calls them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from ..common.messages import one_line
from .meta_kernels import Shapes

unwatched = torch._C.DisableTorchFunction
"""Context in which torch functions are not watched. Modes have no public switch."""


class Failed(Exception):
    """The network's code, or a torch function that it called, raised an exception, which is the cause of this one.

    Attributes:
        module: Name of the innermost module that was running; empty for the network itself.
        kind: Class name of that module.
    """

    def __init__(self, error: Exception, module: str, kind: str):
        super().__init__(one_line(error, whole=False))
        self.module, self.kind = module, kind


class _Carried(BaseException):
    """An exception of a watcher, which the except clauses of the network's code must not catch."""

    def __init__(self, error: Exception):
        super().__init__(error)
        self.error = error


@contextmanager
def own_code() -> Iterator[None]:
    """Context for a watcher's code that the network's code calls: `Watching.run` raises its exceptions unchanged."""
    try:
        yield
    except Exception as error:
        raise _Carried(error) from error


class Watching(TorchFunctionMode):
    """Runs a network and sees every torch function that it calls.

    A subclass defines `__torch_function__`, with code of its own in `own_code`, so that a fault in it does not pass for
    one of the network.

    Attributes:
        names: The name of each module.
        stack: The modules that are running, innermost last.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.names = {module: name for name, module in net.named_modules()}
        self.stack: list[nn.Module] = []

    def run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call the network without gradients.

        Returns:
            The output of the network.

        Raises:
            Failed: The network's code or a torch function that it called raised an exception.
        """
        hooks = [module.register_forward_pre_hook(self._before) for module in self.names]
        hooks += [module.register_forward_hook(self._after) for module in self.names]
        self.stack.clear()
        try:
            with torch.no_grad(), Shapes(), self:
                return self.net(*args, **kwargs)
        except _Carried as carried:
            raise carried.error from carried.error.__cause__
        except Exception as error:
            innermost = self.stack[-1] if self.stack else self.net
            raise Failed(error, self.here(), type(innermost).__name__) from error
        finally:
            for hook in hooks:
                hook.remove()

    def here(self) -> str:
        """Return the name of the innermost module that is running; empty for the network itself."""
        return self.names[self.stack[-1]] if self.stack else ""

    def entered(self, module: nn.Module, args: tuple) -> None:
        """Called before a module runs."""

    def left(self, module: nn.Module, output: Any) -> None:
        """Called after a module has run."""

    def _before(self, module: nn.Module, args: tuple) -> None:
        with own_code(), unwatched():
            self.stack.append(module)
            self.entered(module, args)

    def _after(self, module: nn.Module, args: tuple, output: Any) -> None:
        with own_code(), unwatched():
            self.left(module, output)
            self.stack.pop()


def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """Return the result of a torch function and None, or None and the exception that it raised."""
    try:
        return call(*args, **kwargs), None
    except Exception as error:
        return None, error


def storage(tensor: Tensor) -> int:
    """Return a number that tensors share if they share memory, on the meta device too."""
    with unwatched():
        return StorageWeakRef(tensor.untyped_storage()).cdata


def shapes(tensors: list[Tensor]) -> list[torch.Size]:
    """Return the shape of each tensor."""
    with unwatched():
        return [tensor.shape for tensor in tensors]
