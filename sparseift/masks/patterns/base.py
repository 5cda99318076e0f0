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
from ...sparsity.plan import LayerPlan, Plan, prices
from .fit import nearest_sum

Shape = tuple[int, ...]


class Pattern(ABC):
    """States which weights of a layer are active or masked together.

    Sparsifiers work on units: single weights here, blocks of weights in `Block`. `pool` turns scores of weights into
    scores of units, `units` and `spread` convert between masks of weights and masks of units.
    """

    @abstractmethod
    def plan(self, plan: Plan) -> Plan:
        """Return the plan with the nearest counts that the pattern allows.

        Raises:
            UserError: The masked layers would cost more than planned.
        """

    @abstractmethod
    def rounded(self, plan: Plan) -> Plan:
        """Return the plan with the nearest counts that the pattern allows, whatever they cost."""

    @abstractmethod
    def nearest(self, shape: Shape, count: int, least: int, most: int) -> int:
        """Return the count nearest to `count` to which a mask can be pruned on its way to `least`.

        Args:
            shape: Shape of the weight.
            count: Desired number of active weights.
            least: Count that later prunings end with.
            most: Count of the mask that is pruned.
        """

    @abstractmethod
    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        """Return the mask of the units with the largest scores.

        Args:
            scores: One score per weight, of the shape of the weight.
            count: Number of active weights, one that the pattern allows.
            among: Mask that follows the pattern; the result lies inside it.
        """

    @abstractmethod
    def refill(self, score: Tensor, kept: Tensor, old: Tensor, shape: Shape) -> Tensor:
        """Return `kept` plus the units of largest score in place of those that `old` had besides.

        Args:
            score: One score per unit.
            kept: Units that stay active, a subset of `old`.
            old: Units that were active.
            shape: Shape of the weight.
        """

    def pool(self, values: Tensor) -> Tensor:
        """Return the mean of `values`, one per weight, over each unit."""
        return values

    def units(self, mask: Tensor) -> Tensor:
        """Return the units of a mask of weights; the inverse of `spread`."""
        return mask

    def spread(self, marks: Tensor, shape: Shape) -> Tensor:
        """Return the mask of a weight of this shape whose units are given."""
        return marks


@dataclass(frozen=True, kw_only=True)
class Structured(Pattern):
    """A pattern that a layer can follow at some densities only: its levels 1, 2, ..., `levels(shape)`, in about equal
    steps up to dense.

    Each layer takes the level just above or just below its planned density. Together the layers come as near to the
    planned cost as possible.

    Args:
        tolerance: Fraction by which the masked layers may cost more than planned.
    """

    tolerance: float

    def __post_init__(self) -> None:
        number("pattern.tolerance", self.tolerance, 0)

    @abstractmethod
    def levels(self, shape: Shape) -> int:
        """Return the number of levels of a weight of this shape."""

    @abstractmethod
    def count(self, shape: Shape, level: int) -> int:
        """Return the number of active weights at a level. It grows with the level."""

    def parts(self, shape: Shape, level: int) -> Sequence[int]:
        """Return the number of active units at a level in each part of the weight that keeps its number of units.

        A mask contains one of a lower level only if no part of it has fewer active units.
        """
        return (level,)

    def level(self, shape: Shape, count: int) -> int:
        """Return the level with `count` active weights.

        Raises:
            UserError: No level has this count.
        """
        level = self._first_level(shape, count)
        if self.count(shape, level) != count:
            raise UserError(f"{count} active weights of {prod(shape)} do not fit {self}; its `plan` has counts that do")
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
        """Counts of the levels just below and above the planned density."""
        level = layer.density * self.levels(layer.shape)
        below, above = (self.count(layer.shape, max(1, rounded(level))) for rounded in (floor, ceil))
        return below, above
