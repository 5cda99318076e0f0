"""The plan: the number of active weights of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class LayerPlan:
    """The plan of one weight tensor.

    Attributes:
        shape: `(out, in / groups, *kernel)`.
        active: Number of weights that are not masked.
        flops_per_weight: Forward FLOPs of a single weight for one sample.
    """

    name: str
    shape: tuple[int, ...]
    numel: int
    active: int
    flops_per_weight: int
    masked: bool

    @property
    def density(self) -> float:
        """Share of active weights."""
        return self.active / self.numel

    @property
    def flops(self) -> int:
        """Forward FLOPs for one sample."""
        return self.active * self.flops_per_weight


@dataclass(frozen=True, repr=False)
class Plan:
    """The plan of a network.

    Attributes:
        layers: All layers in execution order.
        budget: Forward FLOPs for one sample of the dense network, products included.
        params_stored: Parameters of the network, masked ones included.
        products: Forward FLOPs for one sample of the products outside of layers, such as those of attention.
        by_flops: Whether the densities meet a number of FLOPs. If not, they meet a given sparsity.
        kept: Layers that are masked as they are, because no other module can stand for them, each with the reason.
    """

    layers: tuple[LayerPlan, ...]
    budget: int
    params_stored: int
    products: int = 0
    by_flops: bool = True
    kept: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The totals in one line."""
        return (
            f"Plan({len(self.masked)} of {len(self.layers)} layers masked, density {self.density:.4f}, "
            f"{self.forward:,} FLOPs, {self.ratio:.4f} of the budget)"
        )

    def __str__(self) -> str:
        """The totals, and a line for each layer: shape, active weights, their share, and FLOPs for one sample."""
        table = [("layer", "shape", "active", "density", "FLOPs")]
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            table.append((layer.name, shape, f"{layer.active:,}", f"{layer.density:.4f}", f"{layer.flops:,}"))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        form = "  ".join(f"{{:{side}{width}}}" for side, width in zip("<<>>>", widths, strict=True))
        return "\n".join(
            [
                f"{self.forward:,} FLOPs for one sample, {self.ratio:.4f} of the budget of {self.budget:,}",
                f"{self.params_active:,} of {self.params_stored:,} parameters active, {self.density:.4f} where masked",
                *(form.format(*row) for row in table),
            ]
        )

    @cached_property
    def masked(self) -> Mapping[str, LayerPlan]:
        """The masked layers by name."""
        return {layer.name: layer for layer in self.layers if layer.masked}

    @property
    def forward(self) -> int:
        """Forward FLOPs for one sample under the masks."""
        return self.products + sum(layer.flops for layer in self.layers)

    @property
    def forward_stored(self) -> int:
        """Forward FLOPs for one sample without masks."""
        return self.products + sum(layer.numel * layer.flops_per_weight for layer in self.layers)

    @property
    def ratio(self) -> float:
        """Forward FLOPs under the masks as a fraction of the budget."""
        return self.forward / self.budget

    @property
    def params_active(self) -> int:
        """Parameters that are not masked."""
        return self.params_stored - sum(layer.numel - layer.active for layer in self.layers)

    @property
    def density(self) -> float:
        """Share of active weights in the masked layers; 1 if nothing is masked."""
        numel = sum(layer.numel for layer in self.masked.values())
        return sum(layer.active for layer in self.masked.values()) / numel if numel else 1.0

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the FLOPs and the numbers of parameters for results.json."""
        return {
            "flops": {
                "budget": self.budget,
                "forward": self.forward,
                "forward_stored": self.forward_stored,
                "products": self.products,
                "ratio": self.ratio,
            },
            "params": {"stored": self.params_stored, "active": self.params_active},
        }

    def layers_summary(self) -> list[dict[str, Any]]:
        """Return the stored and active weights and the FLOPs of each layer for results.json."""
        return [
            {"name": layer.name, "stored": layer.numel, "active": layer.active, "flops": layer.flops}
            for layer in self.layers
        ]

    def with_active(self, active: Mapping[str, int]) -> Plan:
        """Return the plan with other numbers of active weights in the layers that `active` names."""
        layers = (replace(layer, active=active.get(layer.name, layer.active)) for layer in self.layers)
        return replace(self, layers=tuple(layers))


def prices(plan: Plan) -> dict[str, int]:
    """Return the cost of an active weight of each masked layer: its FLOPs, or 1 if the plan meets a sparsity."""
    return {name: layer.flops_per_weight if plan.by_flops else 1 for name, layer in plan.masked.items()}


def training_flops(forward: int, forward_stored: int, samples: int, dense_gradient_samples: int = 0) -> int:
    """Return the FLOPs of training.

    A sample costs 3 f_S: one forward pass, and twice that for the backward pass. In a step that reads dense gradients
    it costs 2 f_S + f_D (RigL, appendix on FLOPs).

    Args:
        forward: Forward FLOPs for one sample under the masks, f_S.
        forward_stored: Forward FLOPs for one sample without masks, f_D.
        samples: Samples of all steps.
        dense_gradient_samples: Samples of the steps that read dense gradients.
    """
    return 3 * forward * samples + (forward_stored - forward) * dense_gradient_samples
