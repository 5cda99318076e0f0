"""Sparse Wide: the whole network with k times as many channels (paper, section 3; Figure 2).

    theta in R^{k Din x k Dout},   k = sqrt(1 / (1 - s))

The width map must be linear, or concatenations, groups and flattened features stop fitting: k is a fraction p / q
whose denominator divides every hidden width of the network. The plan meets the budget by density, whatever k was
rounded to.

Only the outputs of layers are decided here: times k, but for those that reach an output of the network. Inputs
follow: the widened network runs on the meta device, and each layer and norm takes the number of channels that arrives
at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor, gcd, sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..trace import LAYERS, NORMS, Trace, meta_copy, on_meta
from .base import initializer
from .initial import stretched
from .resize import channels_of, resize_layer_, resize_norm_


def width_denominator(record: Trace) -> int:
    """The greatest q for which multiples of 1 / q of every hidden width are whole, per group where layers are
    grouped."""
    unit = 0
    for layer in record.layers.values():
        inputs, outputs, groups = channels_of(layer.module)
        if layer.name not in record.output_layers:
            unit = gcd(unit, outputs if layer.depthwise else outputs // groups)
        if groups > 1 and not layer.depthwise:
            unit = gcd(unit, inputs // groups)
    return unit


def width_factor(sparsity: Fraction, denominator: int, rounding: str) -> Fraction:
    """p / q next to sqrt(1 / (1 - s)). rounding: 'nearest', or 'down' as in the authors' code (int(64 k): 90, 128,
    202)."""
    wanted = denominator * sqrt(1 / (1 - sparsity))
    numerator = {"nearest": floor(wanted + 0.5), "down": floor(wanted + 1e-9)}.get(rounding)
    if numerator is None:
        raise UserError(f"member.rounding is '{rounding}'; it is 'nearest' or 'down'")
    if numerator <= denominator:
        least = 1 - (denominator / (denominator + (0.5 if rounding == "nearest" else 1))) ** 2
        raise UserError(
            f"sparse_wide at sparsity {float(sparsity):g} asks for {sqrt(1 / (1 - sparsity)):.3f} times the width, but "
            f"hidden widths can only change in steps of 1/{denominator}; the nearest sparsity that works is "
            f"{least + 0.005:.2f}"
        )
    return Fraction(numerator, denominator)


@dataclass(frozen=True)
class SparseWide:
    """rounding: how the factor is rounded to the network's widths, 'nearest' or 'down'."""

    rounding: str = "nearest"
    iso_flop: ClassVar[bool] = True

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        factor = width_factor(sparsity, width_denominator(record), self.rounding)
        never_ran = [
            name for name, module in net.named_modules() if isinstance(module, LAYERS) and not record.ran[name]
        ]
        if never_ran:
            raise UserError(f"sparse_wide: {never_ran[0]} did not run with the example, so its width is unknown")
        initial = initializer(net, record)
        targets = {name: self._outputs(record, name, factor) for name in record.layers}
        arrived = _arrivals(record, targets)
        new_of: dict[Tensor, nn.Parameter] = {}
        for name, channels in arrived.items():
            _widen_(net.get_submodule(name), channels, targets.get(name), initial, new_of)
        return list(eligible)

    @staticmethod
    def _outputs(record: Trace, name: str, factor: Fraction) -> int:
        _, outputs, _ = channels_of(record.layers[name].module)
        return outputs if name in record.output_layers else int(outputs * factor)


def _arrivals(record: Trace, targets: dict[str, int]) -> dict[str, int]:
    """Channels that arrive at each layer, norm and per-channel activation when every layer has its new outputs."""
    runner = meta_copy(record.net).eval()
    initial = initializer(runner, record)
    new_of: dict[Tensor, nn.Parameter] = {}
    arrived: dict[str, int] = {}
    running = [""]

    def adapt(name: str):
        def hook(module: nn.Module, args: tuple) -> None:
            running[0] = name
            channels = args[0].shape[_channel_dim(module, args[0])]
            if arrived.setdefault(name, channels) != channels:
                raise UserError(
                    f"sparse_wide: {name} runs more than once, with {arrived[name]} and {channels} channels"
                )
            _widen_(module, channels, targets.get(name), initial, new_of)

        return hook

    for name, module in runner.named_modules():
        if _has_width(module):
            module.register_forward_pre_hook(adapt(name))
        elif own := [key for key, _ in module.named_parameters(recurse=False)]:
            raise UserError(
                f"sparse_wide can't widen {name or 'the network'} ({type(module).__name__}) with a parameter '{own[0]}'"
            )
    args, kwargs = on_meta(record.example)
    try:
        with torch.no_grad():
            runner(*args, **kwargs)
    except UserError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"sparse_wide can't widen this network; after {running[0]}: {reason}") from error
    return arrived


def _has_width(module: nn.Module) -> bool:
    return isinstance(module, (*LAYERS, *NORMS)) or (isinstance(module, nn.PReLU) and module.num_parameters > 1)


def _channel_dim(module: nn.Module, arriving: Tensor) -> int:
    if isinstance(module, (nn.Linear, nn.LayerNorm)):
        return -1
    kernel = getattr(module, "kernel_size", None)
    return arriving.dim() - len(kernel) - 1 if kernel else 1


def _widen_(module: nn.Module, arriving: int, outputs: int | None, initial, new_of: dict[Tensor, nn.Parameter]) -> None:
    if isinstance(module, LAYERS):
        inputs, old_outputs, groups = channels_of(module)
        depthwise = groups > 1 and groups == inputs
        if depthwise:
            outputs = arriving * (old_outputs // inputs)
        resize_layer_(module, arriving, outputs, arriving if depthwise else groups, initial, new_of)
    elif isinstance(module, nn.PReLU):
        module.weight = nn.Parameter(stretched(module.weight, arriving))
        module.num_parameters = arriving
    else:
        resize_norm_(module, arriving)
