"""The dense network itself: the baseline, and plain sparse training at a given sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from torch import nn

from ..graph.trace import Trace


@dataclass(frozen=True)
class Dense:
    """Leaves the network unchanged, with its weights."""

    iso_flop: ClassVar[bool] = False

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        return list(eligible)
