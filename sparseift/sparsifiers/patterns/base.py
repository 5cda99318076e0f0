"""Which weights are active or masked together: patterns that hardware can use.

A pattern turns scores of weights into marks. `pool` gives the scores of its units (single weights, or blocks of them),
`spread` turns marks of units into those of weights; in between, drop and grow see units as if they were weights.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from math import ceil, floor, prod

from torch import Tensor

from ...errors import UserError
from ...masks.topk import grow, largest
from ...sparsity.plan import LayerPlan, Plan, prices
from .fit import nearest_sum

Shape = tuple[int, ...]


class Unstructured:
    """Every weight by itself."""

    def __str__(self) -> str:
        return "no pattern"

    def plan(self, plan: Plan) -> Plan:
        """The plan with counts that the pattern can have."""
        return plan

    def largest(self, scores: Tensor, count: int) -> Tensor:
        """The mask with `count` active weights, of the shape of `scores`, whose units have the largest scores."""
        return largest(scores.flatten(), count).view(scores.shape)

    def pool(self, values: Tensor) -> Tensor:
        """The mean of `values` over each unit of a weight."""
        return values

    def units(self, mask: Tensor) -> Tensor:
        """Marks of weights as those of their units: what `spread` undoes."""
        return mask

    def spread(self, marks: Tensor, shape: Shape) -> Tensor:
        """Marks of units as those of the weights in them. shape: of the weight."""
        return marks

    def refill(self, score: Tensor, kept: Tensor, old: Tensor, shape: Shape) -> Tensor:
        """The units `kept` of `old`, and those of largest score in place of the ones that are gone."""
        return grow(score, kept, int(old.count_nonzero()) - int(kept.count_nonzero()))


@dataclass(frozen=True, kw_only=True)
class Structured(Unstructured):
    """A pattern that a layer can follow at some densities only: its levels 1, 2, ..., `levels(shape)`, in about equal
    steps up to dense.

    Every layer takes the level just above or just below its planned density, such that together they come as near to
    the plan's cost as they can. tolerance: how far, as a fraction, the masked layers may then cost more than planned.
    """

    tolerance: float

    def __post_init__(self):
        if not isinstance(self.tolerance, int | float) or not self.tolerance >= 0:
            raise UserError(f"sparsifier.pattern.tolerance is {self.tolerance}; a fraction such as 0.02 is meant")

    def levels(self, shape: Shape) -> int:
        raise NotImplementedError

    def count(self, shape: Shape, level: int) -> int:
        """Active weights at a level; more at a higher one."""
        raise NotImplementedError

    def level(self, shape: Shape, count: int) -> int:
        """The level with `count` active weights. Raises UserError if there is none."""
        level = 1 + bisect_left(range(1, self.levels(shape)), count, key=lambda level: self.count(shape, level))
        if self.count(shape, level) != count:
            raise UserError(f"{count} active weights of {prod(shape)} do not fit {self}; its `plan` has counts that do")
        return level

    def plan(self, plan: Plan) -> Plan:
        price = prices(plan)
        wanted = sum(price[name] * layer.active for name, layer in plan.masked.items())
        near = {name: self._near(layer) for name, layer in plan.masked.items()}
        chosen = nearest_sum([[price[name] * count for count in counts] for name, counts in near.items()], wanted)
        active = {name: counts[index] for (name, counts), index in zip(near.items(), chosen, strict=True)}
        excess = sum(price[name] * count for name, count in active.items()) / wanted - 1
        if excess > self.tolerance:
            raise UserError(
                f"with {self} the masked layers would cost {excess:.1%} more than planned; finer patterns come nearer, "
                f"or allow it with sparsifier.pattern.tolerance={ceil(100 * excess) / 100:g}"
            )
        layers = (replace(layer, active=active.get(layer.name, layer.active)) for layer in plan.layers)
        return replace(plan, layers=tuple(layers))

    def _near(self, layer: LayerPlan) -> tuple[int, int]:
        """Counts of the levels just below and above the planned density."""
        level = layer.density * self.levels(layer.shape)
        below, above = (self.count(layer.shape, max(1, rounded(level))) for rounded in (floor, ceil))
        return below, above
