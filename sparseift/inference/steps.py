"""Turns a program into steps that are run one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backends.sparse import STEM_WEIGHTS
from ..kernels import Deferred
from .layers import sparse_call
from .norms import with_folded_norms
from .program import Device, Node, Program, Stored, Value, mapped, operator_named, values_in


def _add(a: Tensor, b: Tensor) -> Tensor:
    """Add in place where that gives the shape and type of the sum."""
    fits = isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
    return a.add_(b) if fits else a + b


IN_PLACE: dict[str, Callable[..., Tensor]] = {
    "aten.relu.default": torch.relu_,
    "aten.hardtanh.default": F.hardtanh_,
    "aten.silu.default": torch.ops.aten.silu_.default,
    "aten.gelu.default": torch.ops.aten.gelu_.default,
    "aten.sigmoid.default": torch.sigmoid_,
    "aten.add.Tensor": _add,
}
"""Functions that may overwrite their first argument, by the operator that they replace."""

DEFERRED: dict[str, Callable[..., Tensor]] = {"aten.relu.default": torch.relu, "aten.add.Tensor": torch.add}
"""Functions that deferred tensors (`kernels.Deferred`) compute while a convolution reads them, by operator."""

NEW = ("aten.conv1d", "aten.conv2d", "aten.linear", "aten.add.Tensor", *IN_PLACE)
"""Operators, or beginnings of their names, whose result is a new tensor."""

RESHAPED = {"aten.view.default": "aten.reshape.default", "aten._unsafe_view.default": "aten.reshape.default"}
"""Operators that need a memory layout which outputs of the kernels do not have, and what replaces them."""


@dataclass(frozen=True)
class Step:
    """A call whose result is a value.

    Attributes:
        arguments: Constants, tensors, `Value`, and lists of them.
        last: Numbers of the values that no later step uses.
    """

    number: int
    call: Callable[..., Any]
    arguments: tuple
    keywords: dict[str, Any]
    last: tuple[int, ...]


@dataclass(frozen=True)
class Steps:
    """The steps of a network, and its output, a `Value` or lists and dicts of them."""

    steps: tuple[Step, ...]
    output: Any

    def __call__(self, inputs: Iterable[Tensor]) -> Any:
        values: dict[int, Any] = dict(enumerate(inputs))

        def current(leaf: Any) -> Any:
            return values[leaf.number] if isinstance(leaf, Value) else leaf

        for step in self.steps:
            values[step.number] = step.call(*mapped(step.arguments, current), **mapped(step.keywords, current))
            for number in step.last:
                del values[number]

        def ordinary(leaf: Any) -> Any:
            found = current(leaf)
            return found.ordinary() if isinstance(found, Deferred) else found

        return mapped(self.output, ordinary)


def prepared(program: Program, tensors: dict[str, Tensor], masks: Mapping[str, Tensor], device: torch.device) -> Steps:
    """Return the steps of a program.

    Args:
        tensors: Its tensors, on the device.
        masks: Masks of weights that are computed with the kernels that skip masked weights, where those can.
    """
    nodes, output, tensors = with_folded_norms(program.nodes, program.output, tensors)
    masks = {name: masks[name.partition("@")[0]] for name in tensors if name.partition("@")[0] in masks}
    if masks:
        masks = {name: torch.ones_like(tensors[name], dtype=torch.bool) for name in _stems(nodes, tensors)} | masks
    uses = Counter(values_in([*((node.arguments, node.keywords) for node in nodes), output]))
    new = {node.number for node in nodes if node.operator.startswith(NEW) and uses[node.number] == 1}

    def constant(leaf: Any) -> Any:
        if isinstance(leaf, Stored):
            return tensors[leaf.name]
        return device if isinstance(leaf, Device) else leaf

    steps = []
    last = _last_uses(nodes, output)
    for node, unused in zip(nodes, last, strict=True):
        call, arguments = _call(node, constant, masks, new)
        steps.append(Step(node.number, call, arguments, mapped(node.keywords, constant), unused))
    return Steps(tuple(steps), output)


def _stems(nodes: Sequence[Node], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the weights of dense convolutions of few input channels. The layers after them find the memory layout of
    the kernels if these compute them, too."""
    for node in nodes:
        if node.operator.startswith("aten.conv2d.") and isinstance(weight := node.arguments[1], Stored):
            grouped = any(isinstance(groups, int) and groups > 1 for groups in node.arguments[6:7])
            if not grouped and tensors[weight.name][0].numel() <= STEM_WEIGHTS:
                yield weight.name


def _call(
    node: Node, constant: Callable[[Any], Any], masks: Mapping[str, Tensor], new: set[int]
) -> tuple[Callable[..., Any], tuple]:
    """What a node calls, and with which arguments."""
    weight = node.arguments[1] if len(node.arguments) > 1 else None
    arguments = mapped(node.arguments, constant)
    if isinstance(weight, Stored) and weight.name in masks and not node.keywords:
        layer: Any = sparse_call(node.operator, arguments, masks[weight.name])
        if layer is not None:
            return layer, arguments[:1]
    if node.operator in IN_PLACE and not node.keywords:
        first, *others = arguments
        if node.operator == "aten.add.Tensor" and not _overwritable(first, new) and len(others) == 1:
            first, others = others[0], [first]
        if _overwritable(first, new) and first not in others:
            return IN_PLACE[node.operator], (first, *others)
    if node.operator in DEFERRED and not node.keywords:
        return DEFERRED[node.operator], arguments
    return operator_named(RESHAPED.get(node.operator, node.operator)), arguments


def _overwritable(argument: Any, new: set[int]) -> bool:
    return isinstance(argument, Value) and argument.number in new


def _last_uses(nodes: Sequence[Node], output: Any) -> list[tuple[int, ...]]:
    """The values that each node is the last one to use."""
    seen = set(values_in(output))
    last: list[tuple[int, ...]] = []
    for node in reversed(nodes):
        used = set(values_in((node.arguments, node.keywords))) - seen
        seen |= used
        last.append(tuple(used))
    return last[::-1]
