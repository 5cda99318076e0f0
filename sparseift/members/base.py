"""What a member of the family is, and what the three local ones share: where a layer stands and how to replace it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from numbers import Real
from typing import Protocol

from torch import nn

from ..errors import UserError
from ..graph.trace import Trace


class Member(Protocol):
    """A transformation of networks. `iso_flop`: whether the result is to cost what the dense network costs."""

    iso_flop: bool

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        """Edit `net`, a copy of the network that `record` describes, and name the layers of the result that are
        masked.

        eligible: names of the layers that take part. sparsity: nominal s, 0 < s < 1. Raises UserError with the
        module's name and the reason where the network can't be transformed.
        """
        ...


def exact(sparsity: float) -> Fraction:
    """The sparsity as the decimal fraction that was typed, so that sizes do not depend on float noise."""
    if not isinstance(sparsity, Real):
        raise UserError(f"sparsity is of type {type(sparsity).__name__}; a number in (0, 1) such as 0.75 is meant")
    if not 0 < sparsity < 1:
        raise UserError(f"sparsity {sparsity} is outside (0, 1); a share of zero weights such as 0.75 is meant")
    share = Fraction(float(sparsity)).limit_denominator(10**6)
    if share in (0, 1):
        raise UserError(f"sparsity {sparsity} is too near to {share}; steps of a millionth are the finest")
    return share
