"""No pattern: each weight is active or masked on its own."""

from __future__ import annotations

from torch import Tensor

from ...sparsity import Plan
from ..topk import grow, largest
from .base import Pattern, Shape


class Unstructured(Pattern):
    """Allows every mask and every number of active weights."""

    def __str__(self) -> str:
        return "no pattern"

    def plan(self, plan: Plan) -> Plan:
        return plan

    def rounded(self, plan: Plan) -> Plan:
        return plan

    def nearest(self, shape: Shape, count: int, least: int, most: int) -> int:
        return count

    def largest(self, scores: Tensor, count: int, among: Tensor | None = None) -> Tensor:
        return largest(scores, count, among)

    def refill(self, score: Tensor, kept: Tensor, old: Tensor, dropped: int, shape: Shape) -> Tensor:
        return grow(score, kept, dropped)
