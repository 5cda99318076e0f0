"""The faster of the masked and the sparse backend for each layer."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..kernels import cache_folder, identity
from ..masks import Masks
from ..masks.inplace import mask_in_place
from ..masks.patterns import Pattern
from .base import Backend
from .choices import faster, kept
from .masked import Masked
from .sparse import Sparse, SparseConv1d, SparseConv2d, SparseLayer, SparseLinear

MARGIN = 0.1
"""Share of the time of dense kernels that the sparse ones must save to be chosen: a layer alone is not timed exactly as
it runs among others."""

STEPS = 4
"""Number of densities between two powers of two that are told apart."""

clock = time.perf_counter
"""Seconds of the measurements."""


class Auto:
    """Computes each layer as `Masked` or as `Sparse` does, whichever is faster, measured while the network trains.

    A layer is measured, forward and backward, when it first gets an input of a size, and again when its density leaves
    its step of a quarter of an octave. Choices are kept beside the built kernels, by layer, sizes, density, threads and
    processor: a resumed run on the same machine makes the same ones.

    Where the kernels cannot be built or used, all layers are computed as by `Masked`.
    """

    def __init__(self) -> None:
        self._reason: str | None = None
        try:
            self._backend: Backend = Sparse()
        except UserError as error:
            self._reason, self._backend = str(error), Masked()
        self._layers: dict[str, ChoosingLayer] = {}
        self._densely: set[nn.Module] = set()

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        return self._reason or self._backend.refusal(layer, pattern)

    def attach(self, net: nn.Module, masks: Masks) -> None:
        self._masks = masks
        try:
            self._backend.attach(net, masks)
        except UserError as error:  # of a weight on a GPU or in another type
            warnings.warn(f"backend Auto leaves all layers to dense kernels: {error}", stacklevel=2)
            self._backend = Masked()
            self._backend.attach(net, masks)
        names = {layer: name for name, layer in masks.layers.items()}
        for place, module in net.named_modules():
            if isinstance(module, SparseLayer):
                module.__class__ = CHOOSING[type(module)]
                layer = self._layers[names.get(module, place)] = cast(ChoosingLayer, module)
                layer.densely = self._densely
                self._follow(names.get(module, place))

    def moved(self, names: Iterable[str]) -> None:
        names = list(names)
        self._backend.moved(names)
        for name in self._layers.keys() & set(names):
            self._follow(name)

    def dense_gradients(self, wanted: bool) -> None:
        self._backend.dense_gradients(wanted)

    def mask_gradients(self) -> None:
        """Mask the gradients that dense kernels have left."""
        self._masks.mask_gradients(name for name, layer in self._masks.layers.items() if layer in self._densely)
        self._densely.clear()
        self._backend.mask_gradients()

    def detach(self, net: nn.Module) -> None:
        for layer in self._layers.values():
            layer.release_choices()
        self._layers.clear()
        self._densely.clear()
        self._backend.detach(net)

    def _follow(self, name: str) -> None:
        """Forget the choices of a layer if its density is in another step."""
        layer = self._layers[name]
        density = self._masks.active[name] / layer.weight.numel() if name in self._masks.layers else 1.0
        step = round(STEPS * math.log2(density)) if density else -1000
        if step != getattr(layer, "density_step", None):
            layer.density_step = step
            layer.choices = {}


class ChoosingLayer(SparseLayer):
    """Base of layers that compute with dense or with sparse kernels.

    Attributes:
        choices: Whether inputs of a size are computed with sparse kernels.
        density_step: Logarithm of the density, in steps.
        densely: To be joined by the layer whenever dense kernels compute its output.
    """

    choices: dict[torch.Size, bool]
    density_step: int
    densely: set[nn.Module]

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and self._is_sparse(x.shape):
            return self.forward_sparsely(x)
        self.densely.add(self)
        return self.forward_densely(x)

    def forward_densely(self, x: Tensor) -> Tensor:
        """Compute with torch's dense kernels."""
        return super(SparseLayer, self).forward(x)

    def forward_sparsely(self, x: Tensor) -> Tensor:
        """Compute with the kernels that skip masked weights."""
        return super().forward(x)

    def release_choices(self) -> None:
        """Become the layer of the sparse backend again."""
        for name in ("choices", "density_step", "densely"):
            delattr(self, name)
        self.__class__ = type(self).__mro__[2]

    def _is_sparse(self, size: torch.Size) -> bool:
        if size not in self.choices:
            key = {
                **{"layer": type(self).__name__, "geometry": repr(self._geometry), "weight": list(self.weight.shape)},
                **{"strides": list(self.weight.stride()), "bias": self.bias is not None, "input": list(size)},
                **{"density": self.density_step, "threads": torch.get_num_threads(), "kernels": identity()},
            }
            self.choices[size] = kept(cache_folder() / "choices", key, partial(measured, self, size)) == "sparse"
        return self.choices[size]


def measured(layer: ChoosingLayer, size: torch.Size) -> dict[str, Any]:
    """Time forward and backward passes of a layer with inputs of a size (see `faster`)."""
    gradients, layer.dense_gradient = layer.dense_gradient, False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.randn(size, generator=torch.Generator().manual_seed(0)).requires_grad_()
            ways = {
                "masked": lambda: mask_in_place(_pass(layer, layer.forward_densely, x)[1], layer._mask),
                "sparse": lambda: _pass(layer, layer.forward_sparsely, x),
            }
            return faster(ways, MARGIN, clock)
    finally:
        layer.dense_gradient = gradients


def _pass(layer: ChoosingLayer, forward: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, ...]:
    """The gradients of input and parameters. Those of the parameters that training accumulates stay as they are."""
    output = forward(x).contiguous()
    parameters = [one for one in (layer.weight, layer.bias) if one is not None and one.requires_grad]
    return torch.autograd.grad(output, [x, *parameters], torch.ones_like(output))


class ChoosingConv1d(ChoosingLayer, SparseConv1d):
    pass


class ChoosingConv2d(ChoosingLayer, SparseConv2d):
    pass


class ChoosingLinear(ChoosingLayer, SparseLinear):
    pass


CHOOSING: dict[type[nn.Module], type[ChoosingLayer]] = {
    SparseConv1d: ChoosingConv1d,
    SparseConv2d: ChoosingConv2d,
    SparseLinear: ChoosingLinear,
}
"""The class that chooses for each class of layers of the sparse backend."""
