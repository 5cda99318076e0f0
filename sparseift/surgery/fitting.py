"""Layers, norms and embeddings that take the width of their input while a network runs with new widths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UserError
from ..graph.layers import (
    LAYER_FUNCTIONS,
    AnyLayer,
    BatchNorm,
    InstanceNorm,
    LastNorm,
    channels_of,
    layers_by_weight,
    stored_weight,
)
from ..graph.pytree import tree_map
from ..graph.watching import Watching
from .changes import Committed
from .flow import Flow
from .initialization import Initializer
from .provenance import Marked
from .reference_run import GROUPS, Step
from .resize import resize_layer_, resize_norm_

LAST_NORMS = {F.layer_norm, torch.layer_norm} | {f for f in (getattr(F, "rms_norm", None),) if f}


class NotWhole(Exception):
    """A size of the network times the factor is not an integer; the factor must suit `size`, too."""

    def __init__(self, size: int):
        super().__init__(f"a size of {size} times the factor is not an integer")
        self.size = size


class Again(Exception):
    """A tensor has changed that was already used, so the network must run again."""


class Fitting(Watching):
    """A run in which layers, norms and embeddings take the width of their input.

    A subclass calls `begin` before each run, and `fitted` before each call of a torch function.

    Args:
        factor: The factor of sizes other than outputs of layers.
        outputs: See `widening.widened`.
        read: See `Watching`.
    """

    def __init__(
        self,
        net: nn.Module,
        factor: Fraction,
        outputs: Callable[[str, bool, bool], int],
        read: Sequence[Any] | None,
    ):
        super().__init__(net, read)
        self.factor, self.outputs = factor, outputs
        self.done: set[nn.Module] = set()
        self.wanted: dict[nn.Module, int] = {}  # outputs of layers that their reader determines
        self.committed = Committed(factor)
        self.initial = Initializer(())

    def begin(self, flow: Flow) -> None:
        """Prepare a run."""
        self.flow, self.layers = flow, layers_by_weight(self.net)

    @property
    def step(self) -> Step:
        """The same call in the reference run."""
        raise NotImplementedError

    def fitted(self, func, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Return the arguments of a call, after the module or parameter that it uses has been fitted to its input."""
        if func in LAYER_FUNCTIONS:
            return self._layer(args, kwargs)
        if func in LAST_NORMS:
            return self._last_norm(func, args, kwargs)
        if func is F.embedding:
            return self._embedding(args, kwargs)
        return args, kwargs

    def entered(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if isinstance(module, BatchNorm | InstanceNorm | nn.GroupNorm) and args and args[0].dim() > 1:
            resize_norm_(module, args[0].shape[1])

    def _layer(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        inputs = args[0] if args else kwargs["input"]
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        innermost = self.innermost
        layer = innermost if isinstance(innermost, AnyLayer) else self.layers.get(id(weight))
        if layer is None:
            return args, kwargs
        old_weight, old_bias = layer.weight, layer.bias
        dim = inputs.dim() - 1 if isinstance(layer, nn.Linear) else inputs.dim() - len(layer.kernel_size) - 1
        self._resize(layer, inputs, dim)
        if weight is old_weight:
            swap = {id(old_weight): layer.weight, id(old_bias): layer.bias}
            args, kwargs = tree_map(lambda leaf: swap.get(id(leaf), leaf), (args, kwargs))
            self.layers[id(layer.weight)] = layer
        elif layer.weight is not old_weight:
            raise Again  # the weight was computed before its new shape was known
        bias = args[2] if len(args) > 2 else kwargs.get("bias")
        if layer.bias is not old_bias and bias is not None and bias is not layer.bias:
            raise Again  # so was the bias
        if layer is innermost and len(args) == GROUPS + 1:
            args = (*args[:GROUPS], channels_of(layer)[2])
        return args, kwargs

    def _resize(self, layer: AnyLayer, tensor: Tensor, dim: int) -> None:
        channels, before = tensor.shape[dim], self.step.arguments[0][dim]
        inputs, outputs, groups = channels_of(layer)
        if layer in self.done:
            if channels != inputs:
                raise UserError(f"sparse_wide: {self.names[layer]} runs with {inputs} channels and with {channels}")
            return
        self.done.add(layer)
        if groups > 1 and groups == inputs:
            new_outputs, groups = channels * (outputs // inputs), channels
        else:
            changed, fresh = channels != before, self.flow.fresh(tensor)
            new_outputs = self.wanted.get(layer) or self.outputs(self.names[layer], changed, fresh)
        if stored_weight(layer) is None and (channels, new_outputs) != (inputs, outputs):
            raise UserError(
                f"sparse_wide can't widen {self.names[layer]}: its weight is computed before use, as by weight norm "
                "and spectral norm"
            )
        resize_layer_(layer, channels, new_outputs, groups, self.initial)

    def _last_norm(self, func, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Fit a norm over the last dimension, whether its weight is that of a module of torch or a parameter."""
        norm, sizes = self.innermost, args[1] if len(args) > 1 else kwargs["normalized_shape"]
        width = args[0].shape[-1] if args else kwargs["input"].shape[-1]
        if isinstance(norm, LastNorm) and len(norm.normalized_shape) == 1:
            resize_norm_(norm, width)
            bias = (norm.bias,) if isinstance(norm, nn.LayerNorm) else ()
            return (args[0] if args else kwargs["input"], norm.normalized_shape, norm.weight, *bias, norm.eps), {}
        if len(sizes) != 1 or sizes[0] == width:
            return args, kwargs
        parameters = [leaf for leaf in (*args[2:], *kwargs.values()) if isinstance(leaf, Tensor) and leaf.dim() == 1]
        targets = [target for tensor in parameters for target in self.flow.targets(tensor, 0)]
        origins = [term.origin for term in sizes[0].choices[0]] if isinstance(sizes[0], Marked) else []
        if width != sizes[0] * self.factor or not self.committed.change(origins, targets, self.flow):
            return args, kwargs
        raise Again  # the code has read the old size from the parameter or the attribute

    def _embedding(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Widen an embedding of the network's inputs. Others change where they meet a wider tensor."""
        indices = args[0] if args else kwargs["input"]
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        targets = self.flow.targets(weight, 1) if self.flow.is_parameter(weight) else ()
        if not targets or not self.flow.active(indices) or not self.committed.pending((), targets):
            return args, kwargs
        if (size := weight.shape[1]) * self.factor % 1:
            raise NotWhole(size)
        self.committed.change((), targets, self.flow)
        self.layers = layers_by_weight(self.net)
        new = targets[0].tensor
        return tree_map(lambda leaf: new if leaf is weight else leaf, (args, kwargs))
