"""A network that was read from a compact file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..common.checks import require
from ..errors import UserError
from ..kernels import load
from .file import Packed
from .program import Program
from .steps import Steps, prepared


class CompactNetwork(nn.Module):
    """Computes a program in evaluation mode, without gradients.

    In float32 on a CPU, masked layers are computed by the kernels that skip masked weights. On other devices and in
    other types, and where the kernels cannot be built, dense weights with zeros are used.

    Args:
        tensors: The tensors of the program by name.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor | Packed]) -> None:
        super().__init__()
        self._program = program
        self._masked = {name: one.shape for name, one in tensors.items() if isinstance(one, Packed)}
        self._names = list(tensors)
        for name, one in tensors.items():
            tensor = one.values if isinstance(one, Packed) else one
            if tensor.is_floating_point():
                self.register_parameter(_key(name), nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(_key(name), tensor)
            if isinstance(one, Packed):
                self.register_buffer(_key(name, "mask"), one.bits)
        self._prepared: tuple[Any, Steps] | None = None
        self.eval()

    def train(self, mode: bool = True) -> CompactNetwork:
        """Stay in evaluation mode: batch norms may be folded into weights."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        inputs = self._checked(args, kwargs)
        first = next(self.parameters(), inputs[0])
        kind = first.device, first.dtype, torch.is_autocast_enabled(first.device.type)
        if self._prepared is None or self._prepared[0] != kind:
            self._prepared = kind, self._steps(*kind)
        return self._prepared[1](inputs)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the network, with zeros where masked."""
        packed = self._packed(name)
        return getattr(self, _key(name)) if packed is None else packed.dense()

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name, as in the state dict of the exported network."""
        return {name: self.tensor(name) for name in self._names}

    def _packed(self, name: str) -> Packed | None:
        if name not in self._masked:
            return None
        return Packed(getattr(self, _key(name)).detach(), getattr(self, _key(name, "mask")), self._masked[name])

    def _steps(self, device: torch.device, dtype: torch.dtype, mixed: bool) -> Steps:
        reason = _no_kernels(device, dtype, mixed) if self._masked else None
        if reason:
            warnings.warn(f"dense weights are used, because {reason}", stacklevel=2)
        masks = {} if reason else {name: packed.mask() for name in self._masked if (packed := self._packed(name))}
        return prepared(self._program, self.tensors(), masks, device)

    def _checked(self, args: tuple, kwargs: Mapping[str, Tensor]) -> list[Tensor]:
        """The inputs in their order."""
        names = [one.name for one in self._program.inputs]
        given = dict(zip(names, args, strict=False)) | {**kwargs}
        require(given.keys() == set(names) and len(args) <= len(names), "inputs", sorted(given), ", ".join(names))
        for one in self._program.inputs:
            found = tuple(given[one.name].shape)
            fits = len(found) == len(one.shape) and all(
                low <= size and (high is None or size <= high)
                for size, (low, high) in zip(found, one.shape, strict=True)
            )
            require(fits, f"the shape of {one.name}", found, f"({', '.join(map(_limits, one.shape))})")
        return [given[name] for name in names]


def _no_kernels(device: torch.device, dtype: torch.dtype, mixed: bool) -> str | None:
    """Why the kernels cannot be used; None if they can."""
    if device.type != "cpu" or dtype != torch.float32 or mixed:
        found = "mixed precision" if mixed else str(dtype).removeprefix("torch.")
        return f"the sparse kernels compute in float32 on CPUs, not in {found} on {device.type}"
    try:
        load()
    except UserError as error:
        return str(error)
    return None


def _key(name: str, part: str = "") -> str:
    """The name of a tensor as a module can have it, which has no dots."""
    return "/".join([*name.split("."), *filter(None, [part])])


def _limits(size: tuple[int, int | None]) -> str:
    low, high = size
    return str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
