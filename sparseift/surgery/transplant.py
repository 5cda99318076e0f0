"""Copy the shapes and numbers of a widened network on the meta device to the real network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..graph.copies import constant
from ..graph.layers import AnyLayer, ConvTransposed
from .initialization import Initializer, split, stretched


def adopt(net: nn.Module, twin: nn.Module, initial: Initializer, keep: bool = False) -> None:
    """Give `net` the shapes and numbers of its meta twin, in place.

    New weights of layers and embeddings are drawn. Other tensors repeat their values.

    Args:
        keep: Repeat the outputs of layers, too, and share the weights of repeated inputs among these (Net2WiderNet).
    """
    new_of: dict[int, Tensor] = {}
    for (_, module), (_, other) in zip(net.named_modules(), twin.named_modules(), strict=True):
        like = dict(own_tensors(other))
        for key, tensor in own_tensors(module):
            if (shape := like[key]).shape != tensor.shape:
                if id(tensor) not in new_of:
                    if not (isinstance(module, AnyLayer | nn.Embedding) and key == "weight"):
                        new = _fitted(tensor, shape)
                    elif isinstance(module, nn.Embedding):
                        new = _fitted(tensor, shape) if keep else _drawn(module, shape, initial)
                    elif keep:
                        new = _kept(tensor, shape, inputs=0 if isinstance(module, ConvTransposed) else 1)
                    else:
                        new = initial.weight(tensor, tuple(shape.shape))
                    new_of[id(tensor)] = new
                setattr(module, key, new_of[id(tensor)])
        for key, value in vars(other).items():
            if not isinstance(value, bool) and constant(value) and vars(module).get(key) != value:
                vars(module)[key] = value


def _drawn(table: nn.Embedding, shape: Tensor, initial: Initializer) -> nn.Parameter:
    """A new weight of an embedding, with a row of zeros for padding if it has one. Fixed tables are repeated."""
    if not table.weight.requires_grad:
        fitted = _fitted(table.weight, shape)
        return nn.Parameter(fitted, requires_grad=False)
    new = initial.weight(table.weight, tuple(shape.shape))
    if table.padding_idx is not None and not table.weight.is_meta and not table.weight[table.padding_idx].any():
        with torch.no_grad():
            new[table.padding_idx] = 0
    return new


def _fitted(tensor: Tensor, shape: Tensor) -> Tensor:
    for dim, size in enumerate(shape.shape):
        tensor = stretched(tensor, size, dim)
    return tensor


def _kept(weight: Tensor, shape: Tensor, inputs: int) -> nn.Parameter:
    """The weight of a layer whose inputs, along the dimension `inputs`, and outputs are repeated."""
    outputs = stretched(weight.detach(), shape.shape[1 - inputs], 1 - inputs)
    return nn.Parameter(split(outputs, shape.shape[inputs], inputs), requires_grad=weight.requires_grad)


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module without those of its submodules, with their names."""
    own = [*module.named_parameters(recurse=False, remove_duplicate=False), *module.named_buffers(recurse=False)]
    return [(key, tensor) for key, tensor in own if tensor is not None]
