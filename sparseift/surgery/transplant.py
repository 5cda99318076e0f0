"""Copy the shapes and numbers of a widened network on the meta device to the real network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..graph.copies import constant
from ..graph.layers import AnyLayer, ConvTransposed
from .initialization import Initializer, split, stretched
from .rotary import resampled


def adopt(net: nn.Module, twin: nn.Module, initial: Initializer, keep: bool = False) -> None:
    """Give `net` the shapes and numbers of its meta twin, in place.

    New weights of layers, embeddings and other parameters with random values are drawn. Tables of frequencies are
    computed (see `rotary`). Other tensors repeat their values.

    Args:
        keep: Repeat the outputs of layers, too, and share the weights of repeated inputs among these (Net2WiderNet).
    """
    new_of: dict[int, Tensor] = {}
    for (_, module), (_, other) in zip(net.named_modules(), twin.named_modules(), strict=True):
        like = dict(own_tensors(other))
        for key, tensor in own_tensors(module):
            if (shape := like[key]).shape != tensor.shape:
                if id(tensor) not in new_of:
                    if not (isinstance(module, AnyLayer) and key == "weight"):
                        drawn = not keep and _is_drawn(tensor, shape)
                        new = _drawn(module, tensor, shape, initial) if drawn else _fitted(tensor, shape)
                    elif keep:
                        new = _kept(tensor, shape, inputs=0 if isinstance(module, ConvTransposed) else 1)
                    else:
                        new = initial.weight(tensor, tuple(shape.shape))
                    new_of[id(tensor)] = new
                setattr(module, key, new_of[id(tensor)])
        for key, value in vars(other).items():
            if not isinstance(value, bool) and constant(value) and vars(module).get(key) != value:
                vars(module)[key] = value


def _is_drawn(tensor: Tensor, shape: Tensor) -> bool:
    """Whether a parameter, such as an embedding of tokens or of positions, has random entries in all that changes."""
    if not (isinstance(tensor, nn.Parameter) and tensor.requires_grad and tensor.dim() > 1):
        return False
    if tensor.is_meta:
        return True
    values, changed = tensor.detach(), [d for d in range(tensor.dim()) if tensor.shape[d] != shape.shape[d]]
    varied = all(bool((values != values.narrow(dim, 0, 1)).any()) for dim in changed)
    return varied and resampled(values, shape.shape) is None


def _drawn(module: nn.Module, tensor: Tensor, shape: Tensor, initial: Initializer) -> nn.Parameter:
    """A new parameter; of an embedding with a row of zeros for padding if it has one."""
    new, padding = initial.weight(tensor, tuple(shape.shape)), getattr(module, "padding_idx", None)
    if isinstance(module, nn.Embedding) and padding is not None and not tensor.is_meta and not tensor[padding].any():
        with torch.no_grad():
            new[padding] = 0
    return new


def _fitted(tensor: Tensor, shape: Tensor) -> Tensor:
    fixed = not (isinstance(tensor, nn.Parameter) and tensor.requires_grad)
    if fixed and (table := resampled(tensor.detach(), shape.shape)) is not None:
        return nn.Parameter(table, requires_grad=False) if isinstance(tensor, nn.Parameter) else table
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
