"""The plan: how many weights of each layer are active, so that the network costs exactly what it may.

FLOPs are linear in the densities, hence the common factor of a distribution has a closed form and nothing is searched
for or measured. Counts are integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class LayerPlan:
    """One weight tensor. shape: (out, in / groups, *kernel). active: number of weights that are not masked."""

    name: str
    shape: tuple[int, ...]
    numel: int
    active: int
    flops_per_weight: int
    masked: bool

    @property
    def density(self) -> float:
        return self.active / self.numel

    @property
    def flops(self) -> int:
        """Forward FLOPs for one sample."""
        return self.active * self.flops_per_weight


@dataclass(frozen=True)
class Plan:
    """All layers in execution order. budget: FLOPs per sample of the dense network that this one replaces."""

    layers: tuple[LayerPlan, ...]
    budget: int
    params_stored: int
    masked: Mapping[str, LayerPlan] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "masked", {layer.name: layer for layer in self.layers if layer.masked})

    @property
    def forward(self) -> int:
        """FLOPs per sample under the masks."""
        return sum(layer.flops for layer in self.layers)

    @property
    def forward_stored(self) -> int:
        """FLOPs per sample with nothing masked."""
        return sum(layer.numel * layer.flops_per_weight for layer in self.layers)

    @property
    def ratio(self) -> float:
        return self.forward / self.budget

    @property
    def params_active(self) -> int:
        return self.params_stored - sum(layer.numel - layer.active for layer in self.layers)

    @property
    def density(self) -> float:
        """Share of active weights in the masked layers; 1 where nothing is masked."""
        numel = sum(layer.numel for layer in self.masked.values())
        return sum(layer.active for layer in self.masked.values()) / numel if numel else 1.0

    def with_active(self, active: Mapping[str, int]) -> Plan:
        """Return the plan with other numbers of active weights in the layers that `active` names."""
        layers = (replace(layer, active=active.get(layer.name, layer.active)) for layer in self.layers)
        return replace(self, layers=tuple(layers))


def prices(plan: Plan) -> dict[str, int]:
    """What an active weight of each masked layer takes out of the budget that its plan was made for.

    A network that is larger than the dense one it replaces is masked to meet its FLOPs: a weight's price is its FLOPs
    for one sample. The dense network itself is masked to a given sparsity: the price of every weight is 1.
    """
    by_flops = plan.forward_stored > plan.budget
    return {name: layer.flops_per_weight if by_flops else 1 for name, layer in plan.masked.items()}


def training_flops(forward: int, forward_stored: int, samples: int, dense_gradient_samples: int = 0) -> int:
    """FLOPs of training on `samples` samples, of which `dense_gradient_samples` fell on steps that grow by dense
    gradients.

    A step costs one forward pass and twice that for the backward pass. A step that needs the gradient of every stored
    weight pays the dense price for the weight gradient alone: 2 f_S + f_D instead of 3 f_S (RigL, appendix on FLOPs).

    forward: FLOPs per sample under the masks, f_S. forward_stored: the same with nothing masked, f_D.
    """
    return 3 * forward * samples + (forward_stored - forward) * dense_gradient_samples
