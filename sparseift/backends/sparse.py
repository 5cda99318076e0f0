"""Kernels that skip masked weights, on CPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..kernels import (
    Convolved,
    Deferred,
    Geometry,
    Index,
    Operand,
    convolution,
    defer,
    dense_weight_gradient,
    from_batch_innermost,
    load,
    operand_of,
)
from ..masks import Masks
from ..masks.patterns import Pattern


class Sparse:
    """Computes convolutions and linears from their active weights alone, in float32 on CPUs.

    Other masked layers are computed with torch's dense kernels, as by `Masked`. The parameters stay dense tensors with
    zeros: a forward pass gathers the active weights, and a backward pass writes their gradients to a dense tensor.
    Dense convolutions of few input channels, such as the first one of a network, are computed by the kernels, too.

    Raises:
        UserError: The kernels cannot be built, or the processor lacks their instructions.
    """

    def __init__(self) -> None:
        load()
        self._layers: dict[str, SparseLayer] = {}
        self._dense: list[SparseLayer] = []
        self._to_mask: set[str] = set()

    def refusal(self, layer: nn.Module, pattern: Pattern) -> str | None:
        return refusal(layer)

    def attach(self, net: nn.Module, masks: Masks) -> None:
        self._masks = masks
        for name, layer in masks.layers.items():
            if refusal(layer) is None:
                weight = masks.weights[name]
                if not weight.is_cpu or weight.dtype != torch.float32:
                    raise UserError(f"{name} is {weight.dtype} on {weight.device.type}; expected float32 on a CPU")
                self._layers[name] = _computing(layer, masks[name])
        if any(isinstance(layer, nn.Conv2d) for layer in self._layers.values()):
            masked = set(map(id, masks.layers.values()))
            stems = [layer for layer in net.modules() if id(layer) not in masked and _is_stem(layer)]
            self._dense = [_computing(stem, torch.ones_like(stem.weight, dtype=torch.bool)) for stem in stems]

    def moved(self, names: Iterable[str]) -> None:
        for name in self._layers.keys() & set(names):
            self._layers[name].follow(self._masks[name])
            self._to_mask.add(name)

    def dense_gradients(self, wanted: bool) -> None:
        for name, layer in self._layers.items():
            layer.dense_gradient = wanted
            if wanted:
                self._to_mask.add(name)

    def mask_gradients(self) -> None:
        """Mask the gradients that dense kernels or earlier masks have left. Others are zero where masked."""
        self._masks.mask_gradients(self._to_mask | (self._masks.layers.keys() - self._layers.keys()))
        self._to_mask.clear()

    def detach(self, net: nn.Module) -> None:
        for layer in (*self._layers.values(), *self._dense):
            layer.release()
        self._layers.clear()
        self._dense.clear()


def _computing(layer: nn.Module, mask: Tensor) -> SparseLayer:
    """The layer, which computes with the active weights of a mask from now on."""
    layer.__class__ = COMPUTED_BY[type(layer)]
    computing = cast(SparseLayer, layer)
    computing.follow(mask)
    return computing


STEM_WEIGHTS = 3 * 7 * 7
"""Weights of an output channel up to which a dense convolution is computed by the kernels, too."""


def _is_stem(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a convolution computes so little that the kernels gain more by what follows: norm and ReLU are deferred,
    and the next convolution finds its layout. Depthwise convolutions are faster densely."""
    if type(layer) is not nn.Conv2d or refusal(layer) is not None or layer.groups > 1:
        return False
    weight = layer.weight
    return weight.is_cpu and weight.dtype == torch.float32 and weight[0].numel() <= STEM_WEIGHTS


def refusal(layer: nn.Module) -> str | None:
    """Return why the kernels cannot compute this layer, or None if they can."""
    if type(layer) not in COMPUTED_BY:
        return f"it is a {type(layer).__name__}; expected {', '.join(kind.__name__ for kind in COMPUTED_BY)}"
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        if layer.padding_mode != "zeros":
            return f"its padding mode is {layer.padding_mode}; expected zeros"
        if isinstance(layer.padding, str) and layer.padding != "valid":
            return f"its padding is {layer.padding!r}; expected numbers or 'valid'"
    return None


class SparseLayer(nn.Module):
    """Base of layers that compute with the active weights of a mask.

    `Sparse.attach` sets the class of a convolution or linear to a subclass of this one, and `release` sets it back, so
    the module keeps its identity, parameters and hooks.

    Attributes:
        dense_gradient: Whether the backward pass computes the gradients of masked weights, too.
    """

    dense_gradient: bool
    weight: Any  # declared by the layers
    bias: Any

    def follow(self, mask: Tensor) -> None:
        """Compute with this mask, whose strides are those of the weight, from now on."""
        self._mask = mask
        self._geometry = Geometry.of(self)
        self._indices: dict[tuple[int, ...], Index] = {}
        self._tiles: dict[torch.Size, tuple[int, ...]] = {}
        self.dense_gradient = getattr(self, "dense_gradient", False)

    def release(self) -> None:
        """Become the original layer again."""
        for name in ("_mask", "_geometry", "_indices", "_tiles", "dense_gradient"):
            delattr(self, name)
        self.__class__ = type(self).__mro__[2]

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            raise UserError("backend sparse computes in float32; expected trainer.precision=32-true")
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        """The output for an input of float32."""
        image = self._as_image(x)
        output = self._convolve(Operand(image), moments=False).output
        return self._from_image(from_batch_innermost(output), x)

    def _convolve(self, operand: Operand, moments: bool) -> Convolved:
        """The output (N, O, H', W') of an operand (N, C, H, W), and its moments if they are wanted and exist."""
        weight = self._as_kernel(self.weight)
        index = self._index(operand.x.shape)
        if not self.dense_gradient:
            return convolution(operand, weight, self.bias, index, self._geometry, moments)
        value = operand.evaluate()  # dense kernels read it, too
        output, *_ = convolution(Operand(value), weight.detach(), self.bias, index, self._geometry)
        output = dense_weight_gradient(output, value, weight, self._geometry)
        return Convolved(output, None, None if operand.other is None else value)

    def _index(self, size: torch.Size) -> Index:
        """The index for inputs of this size, which is built when it is first used."""
        if size not in self._tiles:
            self._tiles[size] = self._geometry.best_tiles(self._as_kernel(self._mask).shape, size)
        tiles = self._tiles[size]
        if tiles not in self._indices:
            self._indices[tiles] = Index.build(self._as_kernel(self._mask), self._geometry, tiles)
        return self._indices[tiles]

    def _as_image(self, x: Tensor) -> Tensor:
        """The input as (N, C, H, W)."""
        raise NotImplementedError

    def _from_image(self, output: Tensor, x: Tensor) -> Tensor:
        """The output for an input `x`, from the one for `_as_image(x)`."""
        raise NotImplementedError

    def _as_kernel(self, weight: Tensor) -> Tensor:
        """The weight or its mask as (O, I, H, W), a view."""
        raise NotImplementedError


class SparseConv2d(SparseLayer, nn.Conv2d):
    """Its output is deferred (`kernels.Deferred`), and so may its input be."""

    def _compute(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or torch.compiler.is_compiling():
            return super()._compute(x)
        convolved = self._convolve(operand_of(x), moments=self.training)
        if convolved.value is not None and isinstance(x, Deferred):
            x.keep(convolved.value)
        return defer(Operand(convolved.output), convolved.moments)

    def _as_image(self, x: Tensor) -> Tensor:
        return x if x.dim() == 4 else x.unsqueeze(0)

    def _from_image(self, output: Tensor, x: Tensor) -> Tensor:
        return output if x.dim() == 4 else output.squeeze(0)

    def _as_kernel(self, weight: Tensor) -> Tensor:
        return weight


class SparseConv1d(SparseLayer, nn.Conv1d):
    def _as_image(self, x: Tensor) -> Tensor:
        return (x if x.dim() == 3 else x.unsqueeze(0)).unsqueeze(2)

    def _from_image(self, output: Tensor, x: Tensor) -> Tensor:
        return output.squeeze(2) if x.dim() == 3 else output.squeeze(2).squeeze(0)

    def _as_kernel(self, weight: Tensor) -> Tensor:
        return weight.unsqueeze(2)


class SparseLinear(SparseLayer, nn.Linear):
    """Each token is a sample of one pixel."""

    def _as_image(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1], 1, 1)

    def _from_image(self, output: Tensor, x: Tensor) -> Tensor:
        return output.reshape(*x.shape[:-1], output.shape[1])

    def _as_kernel(self, weight: Tensor) -> Tensor:
        return weight[:, :, None, None]


COMPUTED_BY: dict[type[nn.Module], type[SparseLayer]] = {
    nn.Conv1d: SparseConv1d,
    nn.Conv2d: SparseConv2d,
    nn.Linear: SparseLinear,
}
"""The class that computes each class of layers. Subclasses may compute otherwise, and are not among them."""
