"""Elementwise formulas: activations that a network writes as several calls, such as x * tanh(softplus(x)).

The calls that compute elements of one tensor alone divide into segments. A segment ends in a tensor through which all
of them pass, so it is the smallest part that can be taken as a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import dropwhile, takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .calls import Call, Value

ACTIVATIONS = {
    F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.selu,
    F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.prelu, torch.tanh, Tensor.tanh, Tensor.tanh_,
}  # fmt: skip
"""Non-linearities after a layer. Gates (sigmoid, softmax) are left out: they scale another tensor."""

SCALINGS = {"mul", "rmul", "imul", "multiply", "div", "idiv", "truediv", "itruediv", "divide", "true_divide"}
LINEAR = SCALINGS | {"add", "radd", "iadd", "sub", "rsub", "isub", "neg", "clone", "contiguous", "to", "float"}
SHAPED = {"sigmoid", "hardsigmoid", "logsigmoid", "erf", "softsign"} | {
    func.__name__.strip("_") for func in ACTIVATIONS
}
"""Functions that make a formula an activation or a gate; squares and roots alone are parts of norms."""

ELEMENTWISE = LINEAR | SHAPED | {
    "abs", "clamp", "clamp_max", "clamp_min", "clip", "cos", "exp", "expm1", "ge", "gt", "le", "log", "log1p", "lt",
    "maximum", "minimum", "pow", "reciprocal", "rpow", "rsqrt", "rtruediv", "sin", "sqrt", "square", "where",
}  # fmt: skip
RANGE = 30.0  # of the inputs with which a formula is tested


class Formula(nn.Module):
    """Module that repeats elementwise calls of a network.

    Args:
        calls: The calls, which read no parameters.
        value: Number of the tensor that they start from.
    """

    def __init__(self, calls: Sequence[Call], value: int):
        super().__init__()
        self.calls, self.value = tuple(calls), value

    def forward(self, inputs: Tensor) -> Tensor:
        values = {self.value: inputs}

        def filled(leaf: Any) -> Any:
            return values[leaf.number] if isinstance(leaf, Value) else leaf

        result = inputs
        for call in self.calls:
            assert call.arguments is not None
            args, kwargs = call.arguments
            result = call.func(*map(filled, args), **{key: filled(value) for key, value in kwargs.items()})
            values[call.outputs[0]] = result
        return result

    def extra_repr(self) -> str:
        return ", ".join(call.name + "".join(f" {number:g}" for number in _numbers(call)) for call in self.calls)


@dataclass(frozen=True)
class Segment:
    """Calls between two tensors: all that they compute passes through the second one."""

    start: int
    end: int
    calls: tuple[Call, ...]

    @property
    def linear(self) -> bool:
        return all(_is_linear(call) for call in self.calls)

    @property
    def scaling(self) -> bool:
        """Whether it multiplies by constants."""
        return self.linear and all(call.name in SCALINGS for call in self.calls)

    @property
    def reads_parameters(self) -> bool:
        return any(call.reads_parameters for call in self.calls)


@dataclass(frozen=True)
class Found:
    """The elementwise function that a network applies to a tensor.

    Attributes:
        segments: All of it, the first non-linear segment and constant scalings and shifts around it.
        core: These without the scalings at both ends.
    """

    segments: tuple[Segment, ...]
    core: tuple[Segment, ...]

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(call for segment in self.segments for call in segment.calls)

    @property
    def activation(self) -> Call | None:
        """The one activation that it consists of, but for scalings."""
        calls = [call for segment in self.core for call in segment.calls]
        return calls[0] if len(calls) == 1 and calls[0].func in ACTIVATIONS else None

    @property
    def formula(self) -> Formula | None:
        """Its module; None if it reads parameters."""
        readable = not any(segment.reads_parameters for segment in self.segments)
        return Formula(self.calls, self.segments[0].start) if readable else None

    @property
    def gate(self) -> bool:
        """Whether its values are between 0 and 1, to multiply another tensor by them."""
        if self.activation or self.formula is None:
            return False
        values = self.formula(torch.linspace(-RANGE, RANGE, 1000))
        return bool(values.min() >= 0 and values.max() <= 1)


def function_of(
    value: int, calls: Sequence[Call], consumers: Mapping[int, list[Call]], elsewhere: Callable[[Call], bool]
) -> Found | None:
    """Return the elementwise non-linear function that the calls apply to a tensor first; None if there is none.

    Args:
        calls: All calls of the trace.
        consumers: The calls that read each tensor.
        elsewhere: Whether a call is not part of any formula, as those of layers.
    """
    segments = list(_segments(value, calls, consumers, elsewhere))
    first = next((place for place, segment in enumerate(segments) if not segment.linear), None)
    if first is None:
        return None
    before = list(takewhile(lambda segment: not segment.reads_parameters, reversed(segments[:first])))[::-1]
    after = takewhile(lambda segment: not (segment.linear and segment.reads_parameters), segments[first + 1 :])
    whole = (*before, segments[first], *after)
    if not any(call.name in SHAPED for segment in whole for call in segment.calls):
        return None
    core = list(dropwhile(lambda segment: segment.scaling, whole))
    core = list(dropwhile(lambda segment: segment.scaling, reversed(core)))[::-1]
    return Found(whole, tuple(core))


def _segments(
    value: int, calls: Sequence[Call], consumers: Mapping[int, list[Call]], elsewhere: Callable[[Call], bool]
) -> Iterator[Segment]:
    region = _region(value, calls, consumers, elsewhere)
    own = {call.index for call in region}
    readers = {value: {call.index for call in consumers[value]} & own}  # of the tensors that are still to be read
    start, part = value, list[Call]()
    for call in region:
        for read in set(call.inputs):
            readers[read].discard(call.index)
            if not readers[read]:
                del readers[read]
        (end,) = call.outputs
        readers[end] = {reader.index for reader in consumers[end]}
        part.append(call)
        if set(readers) == {end}:
            yield Segment(start, end, tuple(part))
            start, part = end, []
            if readers[end] - own:
                return  # something else reads it, too


def _region(
    value: int, calls: Sequence[Call], consumers: Mapping[int, list[Call]], elsewhere: Callable[[Call], bool]
) -> list[Call]:
    """The calls that compute elements of a tensor and of no other one, in execution order."""
    inside, region = {value}, list[Call]()
    waiting = [call.index for call in consumers[value]]
    heapify(waiting)
    while waiting:
        call = calls[heappop(waiting)]
        known = region and region[-1] is call
        if known or call.name not in ELEMENTWISE or len(call.outputs) != 1 or elsewhere(call):
            continue
        if inside.issuperset(call.inputs):
            region.append(call)
            inside.add(call.outputs[0])
            for reader in consumers[call.outputs[0]]:
                heappush(waiting, reader.index)
    return region


def _is_linear(call: Call) -> bool:
    return call.name in LINEAR and (call.name not in SCALINGS or len(call.inputs) == 1)


def _numbers(call: Call) -> list[float]:
    assert call.arguments is not None
    return [leaf for leaf in (*call.arguments[0], *call.arguments[1].values()) if isinstance(leaf, int | float)]
