"""Folds batch norms into the convolutions before them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .program import Node, Stored, Value, live, mapped, values_in

CONVOLUTIONS = ("aten.conv1d.default", "aten.conv2d.default", "aten.conv2d.padding", "aten.conv1d.padding")
NORM = "aten._native_batch_norm_legit_no_training.default"


def with_folded_norms(
    nodes: Sequence[Node], output: Any, tensors: dict[str, Tensor]
) -> tuple[tuple[Node, ...], Any, dict[str, Tensor]]:
    """Return nodes, output and tensors of a program without the batch norms whose input is a convolution alone.

    The weights of these convolutions are computed in float64. They are zero where they were.
    """
    uses = Counter(values_in([*((node.arguments, node.keywords) for node in nodes), output]))
    by_number = {node.number: node for node in nodes}
    tensors, folded, instead = dict(tensors), dict(by_number), {}
    for node in nodes:
        if node.operator != "operator.getitem" or node.arguments[1] != 0:
            continue
        norm = by_number.get(node.arguments[0].number)
        if norm is None or norm.operator != NORM or uses[norm.number] != 1:
            continue
        layer = by_number.get(norm.arguments[0].number)
        if layer is None or layer.operator not in CONVOLUTIONS or uses[layer.number] != 1 or not _constant(layer, norm):
            continue
        weight, bias = _folded(layer, norm, tensors)
        name = f"{layer.arguments[1].name}@{layer.number}"  # a name of its own: other layers may share the weight
        tensors |= {name: weight, f"{name}.bias": bias}
        arguments = (layer.arguments[0], Stored(name), Stored(f"{name}.bias"), *layer.arguments[3:])
        folded[layer.number] = replace(layer, arguments=arguments)
        instead[node.number] = layer.number

    def current(leaf: Any) -> Any:
        return Value(instead.get(leaf.number, leaf.number)) if isinstance(leaf, Value) else leaf

    new = [
        replace(node, arguments=mapped(node.arguments, current), keywords=mapped(node.keywords, current))
        for node in folded.values()
    ]
    output = mapped(output, current)
    return live(new, output), output, tensors


def _constant(layer: Node, norm: Node) -> bool:
    """Whether weights and statistics are stored, and all arguments of the layer in their places."""
    parts = [*layer.arguments[1:3], *norm.arguments[1:5]]
    return not layer.keywords and all(part is None or isinstance(part, Stored) for part in parts)


def _folded(layer: Node, norm: Node, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    weight, bias = (_double(part, tensors) for part in (*layer.arguments, None)[1:3])
    scale, shift, mean, variance = (_double(part, tensors) for part in norm.arguments[1:5])
    assert weight is not None and mean is not None and variance is not None
    factor = (variance + norm.arguments[6]).rsqrt() * (1 if scale is None else scale)
    offset = ((0 if bias is None else bias) - mean) * factor + (0 if shift is None else shift)
    dtype = tensors[layer.arguments[1].name].dtype
    return (weight * factor.view(-1, *[1] * (weight.dim() - 1))).to(dtype), offset.to(dtype)


def _double(part: Stored | None, tensors: dict[str, Tensor]) -> Tensor | None:
    return None if part is None else tensors[part.name].to(torch.float64)
