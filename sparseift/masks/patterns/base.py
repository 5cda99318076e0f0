"""The interface of a pattern, and the base of patterns that exist at some densities only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, prod

from torch import Tensor

from ...common.checks import number
from ...errors import UserError
from ...sparsity import LayerPlan, Plan, prices
from .nearest_sum import nearest_sum

Shape = tuple[int, ...]


class Pattern(ABC):
    """Defines which masks a layer may have.

    Sparsifiers drop and grow units: single weights by default, blocks of weights in `Block`. `pool` turns scores of
    weights into scores of units. `unit_mask` and `weight_mask` convert masks.
    """

    @abstractmethod
    def plan(self, plan: Plan) -> Plan:
        """Return the plan with the nearest numbers of active weights that the pattern allows.

        Raises:
            UserError: The masked layers would cost more than planned.
        """

    @abstractmethod
    def rounded(self, plan: Plan) -> Plan:
        """Return the same as `plan`, without a limit on the cost."""

    @abstractmethod
    def nearest(self, shape: Shape, count: int, least: int, most: int) -> int:
        """Return the number of active weights nearest to `count` that a step of gradual pruning can reach.

        Args:
            shape: Shape of the weight.
            count: Desired number of active weights.
            least: Number of active weights at the end of pruning.
            most: Number of active weights before this step.
        """

    @abstractmethod
    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        """Return the mask of weights that consists of the units with the largest scores.

        Args:
            scores: One score per weight, of the shape of the weight.
            count: Number of active weights. The pattern must allow it.
            among: Mask that contains the result, and follows the pattern; all weights by default.
        """

    @abstractmethod
    def refill(self, score: Tensor, kept: Tensor, old: Tensor, dropped: int, shape: Shape) -> Tensor:
        """Return the mask of units after growth: `kept`, and as many grown units as were dropped from `old`.

        Args:
            score: One score per unit. Units with the largest scores grow.
            kept: Mask of the units that stay active, a subset of `old`.
            old: Mask of the units before the update.
            dropped: Number of units of `old` that are not in `kept`, so that it need not be read from the device.
            shape: Shape of the weight.
        """

    def pool(self, values: Tensor) -> Tensor:
        """Return the mean over each unit of `values`, which has one number per weight."""
        return values

    def unit_mask(self, mask: Tensor) -> Tensor:
        """Return the mask of units, given a mask of weights; the inverse of `weight_mask`."""
        return mask

    def weight_mask(self, units: Tensor, shape: Shape) -> Tensor:
        """Return the mask of a weight of this shape, given its mask of units."""
        return units


@dataclass(frozen=True, kw_only=True)
class Structured(Pattern):
    """Base of patterns that allow some densities only.

    The densities are numbered by levels 1, 2, ..., `levels(shape)`, in about equal steps; the last level is dense.
    `plan` rounds each layer to the level just above or just below its planned density, so that the total cost is as
    near to the planned one as possible.

    Args:
        tolerance: Maximum cost of the masked layers above the plan, as a fraction.
    """

    tolerance: float

    def __post_init__(self) -> None:
        number("pattern.tolerance", self.tolerance, 0)

    @abstractmethod
    def levels(self, shape: Shape) -> int:
        """Return the number of levels of a weight of this shape."""

    @abstractmethod
    def count(self, shape: Shape, level: int) -> int:
        """Return the number of active weights at a level. It does not decrease with the level."""

    def parts(self, shape: Shape, level: int) -> Sequence[int]:
        """Return the number of active units at a level, for each part of the weight with a number of its own.

        A mask can contain a mask of a lower level only if none of its parts has fewer active units.
        """
        return (level,)

    def level(self, shape: Shape, count: int) -> int:
        """Return the level with `count` active weights.

        Raises:
            UserError: No level has this count.
        """
        level = self._first_level(shape, count)
        if self.count(shape, level) != count:
            raise UserError(
                f"{count} active weights of {prod(shape)} do not fit {self}; `Pattern.plan` returns numbers that do"
            )
        return level

    def plan(self, plan: Plan) -> Plan:
        rounded, price = self.rounded(plan), prices(plan)
        wanted, cost = (sum(price[name] * one.active for name, one in of.masked.items()) for of in (plan, rounded))
        excess = cost / max(1, wanted) - 1
        if excess > self.tolerance:
            raise UserError(
                f"with {self} the masked layers would cost {excess:.1%} more than planned; use a finer pattern, "
                f"or allow the excess with pattern.tolerance={ceil(100 * excess) / 100:g}"
            )
        return rounded

    def rounded(self, plan: Plan) -> Plan:
        price = prices(plan)
        wanted = sum(price[name] * layer.active for name, layer in plan.masked.items())
        near = {name: self._near(layer) for name, layer in plan.masked.items()}
        chosen = nearest_sum([[price[name] * count for count in counts] for name, counts in near.items()], wanted)
        return plan.with_active({name: near[name][index] for name, index in zip(near, chosen, strict=True)})

    def nearest(self, shape: Shape, count: int, least: int, most: int) -> int:
        low, high = self.level(shape, least), self.level(shape, most)
        end, start = self.parts(shape, low), self.parts(shape, high)

        def nested(level: int) -> bool:
            parts = self.parts(shape, level)
            return all(a <= part <= b for a, part, b in zip(end, parts, start, strict=True))

        first = min(high, max(low, self._first_level(shape, count)))
        above = next(filter(nested, range(first, high)), high)
        below = next(filter(nested, range(first - 1, low, -1)), low)
        return min((self.count(shape, level) for level in (below, above)), key=lambda found: abs(found - count))

    def _first_level(self, shape: Shape, count: int) -> int:
        """The lowest level with at least `count` active weights, or the highest one."""
        return 1 + bisect_left(range(1, self.levels(shape)), count, key=lambda level: self.count(shape, level))

    def _near(self, layer: LayerPlan) -> tuple[int, int]:
        """The numbers of active weights at the levels just below and above the planned density."""
        level = layer.density * self.levels(layer.shape)
        below, above = (self.count(layer.shape, max(1, near(level))) for near in (floor, ceil))
        return below, above
