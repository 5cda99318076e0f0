"""FLOPs: 2 per multiply-accumulate of convolutions and linears, forward, one sample.

A weight that is used at `positions` places of one sample costs 2 * positions FLOPs, and a masked weight costs
nothing, so the FLOPs of a network are linear in the densities of its layers. Norms, activations and biases are not
counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .attention import with_linear_attention
from .recorder import trace
from .trace import Layer, Trace


@dataclass(frozen=True)
class LayerCost:
    """What one weight tensor costs: its shape and the FLOPs of a single weight of it for one sample."""

    name: str
    shape: tuple[int, ...]
    numel: int
    flops_per_weight: int

    @property
    def flops(self) -> int:
        return self.numel * self.flops_per_weight


def layer_costs(record: Trace) -> dict[str, LayerCost]:
    """The cost of every layer that ran, in execution order; layers that share a weight count under the first one's
    name."""
    owner: dict[int, str] = {}
    positions: dict[str, int] = {}
    for layer in record.layers.values():
        name = owner.setdefault(weight_identity(layer), layer.name)
        positions[name] = positions.get(name, 0) + layer.positions
    costs = {}
    for name, count in positions.items():
        weight = record.layers[name].module.weight
        costs[name] = LayerCost(name, tuple(weight.shape), weight.numel(), 2 * count)
    return costs


def weight_identity(layer: Layer) -> int:
    """The same number for layers that share a weight. A weight that is computed anew at each use is the layer's own."""
    return id(layer.module._parameters.get("weight", layer))


def forward_flops(net: nn.Module, example: Tensor | tuple | dict) -> int:
    """Dense forward FLOPs of a network for one sample of `example`."""
    return sum(cost.flops for cost in layer_costs(trace(with_linear_attention(net), example)).values())
