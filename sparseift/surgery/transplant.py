"""Copy the shapes and numbers of a widened network on the meta device to the real network."""

from __future__ import annotations

from torch import Tensor, nn

from ..graph.copies import constant
from ..graph.layers import AnyLayer
from .initialization import Initializer, stretched


def adopt(net: nn.Module, twin: nn.Module, initial: Initializer) -> None:
    """Give `net` the shapes and numbers of its meta twin, in place.

    New weights of layers are drawn. Other tensors repeat their values.
    """
    new_of: dict[int, Tensor] = {}
    for (_, module), (_, other) in zip(net.named_modules(), twin.named_modules(), strict=True):
        like = dict(own_tensors(other))
        for key, tensor in own_tensors(module):
            if (shape := like[key]).shape != tensor.shape:
                if id(tensor) not in new_of:
                    drawn = isinstance(module, AnyLayer) and key == "weight"
                    new_of[id(tensor)] = initial.weight(tensor, tuple(shape.shape)) if drawn else _fitted(tensor, shape)
                setattr(module, key, new_of[id(tensor)])
        for key, value in vars(other).items():
            if not isinstance(value, bool) and constant(value) and vars(module).get(key) != value:
                vars(module)[key] = value


def _fitted(tensor: Tensor, shape: Tensor) -> Tensor:
    for dim, size in enumerate(shape.shape):
        tensor = stretched(tensor, size, dim)
    return tensor


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module without those of its submodules, with their names."""
    own = [*module.named_parameters(recurse=False, remove_duplicate=False), *module.named_buffers(recurse=False)]
    return [(key, tensor) for key, tensor in own if tensor is not None]
