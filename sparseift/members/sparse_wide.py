"""Sparse Wide: the whole network with k times as many channels (paper, section 3; Figure 2).

    theta in R^{k Din x k Dout},   k = sqrt(1 / (1 - s))

All widths change by the same factor, so that concatenations, groups and flattened features still fit: k is a fraction
p / q whose denominator divides every hidden width of the network. The plan meets the budget for any k.

This file defines the number of outputs of each layer. It is multiplied by k if the input of the layer has been widened
or is computed from the network's inputs without a layer in between, unless the layer is an output layer. A layer that
mixes tokens or heads, whose number does not change, keeps its width. `surgery.widening` adapts the rest of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, gcd, sqrt
from typing import ClassVar

from torch import nn

from ..common.checks import one_of
from ..errors import BudgetError, UserError
from ..graph.layers import AnyLayer, channels_of
from ..graph.trace import Trace
from ..surgery.fitting import NotWhole
from ..surgery.pretrained import follow_config
from ..surgery.replace import initializer
from ..surgery.transplant import adopt
from ..surgery.widening import widened


def width_denominator(record: Trace) -> int:
    """Return the greatest common divisor of all hidden widths, per group for grouped layers and norms.

    It is 0 if the network has no hidden width.
    """
    unit = 0
    for layer in record.layers.values():
        inputs, outputs, groups = channels_of(layer.module)
        if layer.name not in record.output_layers:
            unit = gcd(unit, outputs if layer.depthwise else outputs // groups)
        if groups > 1 and not layer.depthwise:
            unit = gcd(unit, inputs // groups)
    for norm in record.net.modules():
        if isinstance(norm, nn.GroupNorm) and norm.num_groups < norm.num_channels:
            unit = gcd(unit, norm.num_channels // norm.num_groups)
    return unit


def width_factor(sparsity: Fraction, denominator: int, rounding: str) -> Fraction:
    """Return sqrt(1 / (1 - s)) rounded to a multiple of 1 / denominator.

    Args:
        rounding: 'nearest', or 'down' as in the authors' code (int(64 k): 90, 128, 202).
    """
    one_of("member.rounding", rounding, ("nearest", "down"))
    if not denominator:
        raise UserError("sparse_wide: the network has no hidden width; all its layers are output layers")
    numerator = floor(denominator * sqrt(1 / (1 - sparsity)) + (0.5 if rounding == "nearest" else 1e-9))
    if numerator <= denominator:
        factor = sqrt(1 / (1 - sparsity))
        raise BudgetError(
            f"sparse_wide needs widths {factor:.3f} times as large, but they change in steps of 1/{denominator}"
        )
    return Fraction(numerator, denominator)


@dataclass(frozen=True)
class SparseWide:
    """The whole network with k times as many channels.

    From given weights, it starts as Net2WiderNet (Chen et al., ICLR 2016): channels are repeated, and repeated inputs
    share the weight. This keeps the function of most networks without attention and flattened channels.
    Layer norms need a whole k.

    Args:
        rounding: How k is rounded, 'nearest' or 'down'.
    """

    rounding: str = "nearest"
    iso_flop: ClassVar[bool] = True
    keeps_with: ClassVar[str] = "a network without attention or flattened channels, and sparsity=0.75 with layer norms"

    def __call__(
        self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction, keep: bool = False
    ) -> list[str]:
        training = record.in_training
        if training is not None and any(
            training.ran[name] and not record.ran[name] for name in _with_parameters(record)
        ):
            record = training  # auxiliary heads run in training alone
        if unused := _unused(record):
            raise UserError(f"sparse_wide: {unused[0]} did not run with the example, so its width is unknown")

        denominator = width_denominator(record)
        while True:
            factor = width_factor(sparsity, denominator, self.rounding)
            try:
                twin = _widened(record, factor)
                break
            except NotWhole as odd:  # such as the width of a head
                denominator = gcd(denominator, odd.size)
        adopt(net, twin, initializer(net, record), keep)
        follow_config(net, record.net, factor)
        return list(eligible)


def _with_parameters(record: Trace) -> list[str]:
    return [name for name, module in record.net.named_modules() if [*module.parameters(recurse=False)]]


def _unused(record: Trace) -> list[str]:
    layers = (name for name, module in record.net.named_modules() if isinstance(module, AnyLayer))
    return [name for name in layers if not record.ran[name]]


def _widened(record: Trace, factor: Fraction) -> nn.Module:
    """A meta copy of the network, with its layers `factor` times as wide."""

    def outputs(name: str, changed: bool, fresh: bool) -> int:
        if name not in record.layers:
            raise UserError(f"sparse_wide can't widen {name}: its call fails with the example, so its width is unknown")
        _, old, _ = channels_of(record.layers[name].module)
        widened = (changed or fresh) and name not in record.output_layers
        return int(old * factor) if widened else old

    return widened(record, factor, outputs)
