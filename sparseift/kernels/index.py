"""The index of a mask: which active weights the kernels visit, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .extension import load

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A two-dimensional convolution but for its weight.

    Attributes:
        kernel: Output channels, height and width.
    """

    kernel: tuple[int, int, int]
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @classmethod
    def of(cls, layer: nn.Module) -> Geometry:
        """Return the geometry of a convolution in one or two dimensions or a linear.

        A one-dimensional convolution is one of height 1, and a linear one of a single pixel.
        """
        if isinstance(layer, nn.Linear):
            return cls((layer.out_features, 1, 1), (1, 1), (0, 0), (1, 1), 1)
        assert isinstance(layer, nn.Conv1d | nn.Conv2d)
        valid = layer.padding == "valid"
        stride, padding, dilation = (
            (fill,) * (2 - len(values)) + (*values,)
            for fill, values in ((1, layer.stride), (0, () if valid else layer.padding), (1, layer.dilation))
        )
        kernel = (layer.out_channels, *(1,) * (2 - len(layer.kernel_size)), *layer.kernel_size)
        return cls(kernel, stride, padding, dilation, layer.groups)  # type: ignore[arg-type]

    def best_tiles(self, weight_size: torch.Size, input_size: torch.Size) -> tuple[int, ...]:
        """Return the numbers of the tiles that compute output and input gradient fastest.

        Args:
            weight_size: Size of the weight (O, I, H, W).
            input_size: Size of the input (N, C, H, W).
        """
        load()
        return tuple(torch.ops.sparseift.best_tiles(weight_size, input_size, self.numbers))

    @property
    def numbers(self) -> list[int]:
        """Stride, padding, dilation and groups, as the operators take them."""
        return [*self.stride, *self.padding, *self.dilation, self.groups]


class Index(NamedTuple):
    """The index of a mask.

    Attributes:
        forward: Active weights in the order of the forward pass.
        transposed: Active weights in the order of the input gradient.
        positions: Place of each active weight in the memory of the dense weight, increasing.
        entries: Its place in the order of the forward pass.
        order: Place in the order of the forward pass, for each weight in the order of the input gradient.
    """

    forward: Tensor
    transposed: Tensor
    positions: Tensor
    entries: Tensor
    order: Tensor

    @classmethod
    def build(cls, mask: Tensor, geometry: Geometry, tiles: Sequence[int]) -> Index:
        """Return the index of a mask (O, I, H, W) whose strides are those of the weight."""
        load()
        return cls(*torch.ops.sparseift.index(mask, geometry.numbers, tiles))
