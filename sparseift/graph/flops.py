"""FLOPs of a network: 2 per multiply-accumulate, for the forward pass of one sample.

A weight that is used at n positions of a sample costs 2 n FLOPs and a masked weight costs none, so the FLOPs of a
network are linear in the densities of its layers. No mask reduces the products outside of layers, such as those of
attention: each costs its full size, T x T for T tokens. Norms, activations and biases are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import nn

from ..errors import UserError
from .attention import with_linear_attention
from .examples import Example
from .layers import stored_weight
from .recorder import trace
from .trace import Layer, Trace


@dataclass(frozen=True)
class LayerCost:
    """The cost of a weight tensor.

    Attributes:
        shape: (out, in / groups, *kernel).
        flops_per_weight: Forward FLOPs of a single weight for one sample.
    """

    name: str
    shape: tuple[int, ...]
    numel: int
    flops_per_weight: int

    @property
    def flops(self) -> int:
        """Forward FLOPs for one sample."""
        return self.numel * self.flops_per_weight


def layer_costs(record: Trace) -> dict[str, LayerCost]:
    """Return the cost of every layer that ran, in execution order, and of every weight that is used outside of layers.

    Layers that share a weight have one cost, under the name of the first.

    Raises:
        UserError: The network multiplies by parameters that it does not have.
    """
    if record.uncounted:
        raise UserError(record.uncounted)
    owner: dict[int, str] = {}
    positions: dict[str, int] = {}
    for layer in record.layers.values():
        name = owner.setdefault(weight_identity(layer), layer.name)
        positions[name] = positions.get(name, 0) + layer.positions
    costs = {}
    for name, count in positions.items():
        weight = record.layers[name].module.weight
        costs[name] = LayerCost(name, tuple(weight.shape), weight.numel(), 2 * count)
    bare: dict[tuple[str, tuple[int, ...]], int] = {}
    for use in record.bare_weights:
        bare[use.name, use.shape] = bare.get((use.name, use.shape), 0) + use.positions
    for (name, shape), count in bare.items():
        part = name if name not in costs else f"{name} {'x'.join(map(str, shape))}"  # another part of the parameter
        costs[part] = LayerCost(part, shape, prod(shape), 2 * count)
    return costs


def weight_identity(layer: Layer) -> int:
    """Return a number that is the same for layers that share a weight parameter."""
    weight = stored_weight(layer.module)
    return id(layer if weight is None else weight)


def total_flops(record: Trace) -> int:
    """Return the forward FLOPs of the traced network for one sample."""
    return product_flops(record) + sum(cost.flops for cost in layer_costs(record).values())


def product_flops(record: Trace) -> int:
    """Return the forward FLOPs of the products outside of layers, for one sample."""
    return sum(record.products.values())


def forward_flops(net: nn.Module, example: Example) -> int:
    """Return the dense forward FLOPs of a network for one sample.

    Args:
        example: A batch of any size that the network takes; only its shapes matter.

    Raises:
        UserError: The network does not run on the example.
    """
    return total_flops(trace(with_linear_attention(net), example))
