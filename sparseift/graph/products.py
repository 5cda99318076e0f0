"""Matrix products and convolutions: how often a call uses each element of one of its factors."""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

from torch import Tensor

from .examples import tensor_leaves

CONTRACTED = {  # place, among the tensors, of the factor whose last dimension is summed over
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "linear"), 0),
    **dict.fromkeys(("rmatmul", "addmm", "addmv", "baddbmm"), 1),
}
ADDED = {"addmm", "addmv", "baddbmm"}  # the first tensor is added
CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "bilinear"}  # an output element uses weight[i] for one i
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}  # as does an input element
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"} | {
    f"{kind}_cell" for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
}
PRODUCTS = CONTRACTED.keys() | CONVOLUTIONS | TRANSPOSED | RECURRENT | {"einsum", "tensordot"}


def uses(name: str, args: tuple, kwargs: dict[str, Any], output: Tensor, factor: Tensor) -> int:
    """Return the number of multiply-accumulates in which a call uses each element of a factor.

    Args:
        name: A function of PRODUCTS.
        factor: The weight, one of the tensors among the arguments.
    """
    tensors = tensor_leaves((args, kwargs))
    if name in RECURRENT:  # each step of each sample
        return tensors[0].numel() // tensors[0].shape[-1] if factor.dim() > 1 else 0
    if name in CONTRACTED:
        total = output.numel() * tensors[CONTRACTED[name]].shape[-1]
    elif name in CONVOLUTIONS:
        total = output.numel() * prod(factor.shape[1:])
    elif name in TRANSPOSED:
        total = tensors[0].numel() * prod(factor.shape[1:])
    elif name == "einsum":
        total = prod(_einsum_sizes(args[0], tensors, output).values())
    else:  # each dimension of a tensor product is in two of the three tensors
        total = isqrt(output.numel() * tensors[0].numel() * tensors[1].numel())
    return total // max(factor.numel(), 1)


def _einsum_sizes(equation: str, tensors: list[Tensor], output: Tensor) -> dict[str | int, int]:
    """The size of each index of torch.einsum. Those of an ellipsis are numbered from the right."""
    terms, _, result = equation.replace(" ", "").partition("->")
    sizes: dict[str | int, int] = {}
    for term, tensor in zip((*terms.split(","), result), (*tensors, output), strict=False):
        left, dots, right = term.partition("...")
        shape = list(tensor.shape)
        sizes |= dict(zip(left, shape, strict=False))
        if dots:
            sizes |= dict(zip(reversed(right), reversed(shape), strict=False))
            between = shape[len(left) : len(shape) - len(right)]
            for place, size in enumerate(reversed(between)):
                sizes[place] = max(size, sizes.get(place, 1))
    return sizes
