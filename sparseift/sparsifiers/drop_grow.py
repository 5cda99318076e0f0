"""Drop and grow, as pure functions of tensors. Counts are exact, and ties go to the first position."""

from __future__ import annotations

from torch import Tensor

from ..selection import largest


def drop(weight: Tensor, mask: Tensor, count: int) -> Tensor:
    """The mask without the `count` active weights of smallest magnitude. Masked positions take no part."""
    return largest(weight.detach().abs(), int(mask.count_nonzero()) - count, among=mask)


def grow(score: Tensor, kept: Tensor, count: int) -> Tensor:
    """The mask `kept` with the `count` positions of largest score outside it. Kept positions do not compete; there
    must be at least `count` others."""
    return largest(score, count, among=~kept).logical_or_(kept)
