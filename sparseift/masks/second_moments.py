"""The second moments that grown weights start with under Adam and optimizers like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .optimizers import group_of, with_inner
from .sharded import local, whole

SECOND_MOMENTS = ("exp_avg_sq", "max_exp_avg_sq")
"""Keys under which Adam, AdamW, NAdam, RAdam and others keep, for every weight, a running mean of its squared gradients
and the maximum of that mean (AMSGrad)."""


@dataclass(frozen=True)
class Start:
    """Second moments of a weight, and what those of its grown elements start with.

    Args:
        values: What the optimizer keeps on this rank, as real numbers.
        first: A scalar, or a tensor of the shape of `values`.
    """

    values: Tensor
    first: Tensor

    def set(self, grown: Tensor) -> None:
        """Set the second moments where `grown` holds, a boolean mask of the weight, or of its part on this rank."""
        places = grown if grown.dim() == self.values.dim() else grown.unsqueeze(-1)
        self.values.copy_(torch.where(places, self.first, self.values))


def matched(
    optimizers: Iterable[Optimizer], weight: nn.Parameter, active: int, gradient: Tensor | None
) -> Iterator[Start]:
    """Yield the second moments that grown elements of a weight start with: as large as those of the other elements.

    A new parameter starts with a second moment of zero, for which Adam corrects by the number of steps. That number is
    of the whole parameter, so an element that starts at zero later is divided by a second moment that is too small. Its
    steps reach 6.5 learning rates with beta2 = 0.999, if its gradients are constant.

    Grown elements start with the mean of the active ones instead. Where `gradient` is given, they start at least with
    the second moment that they would have if all gradients so far had been this one, so that a step exceeds the
    learning rate only if later gradients are larger.

    Args:
        optimizers: Optimizers of the network. Those that keep none of `SECOND_MOMENTS` are left out.
        weight: A parameter, whose second moments are zero where it is masked.
        active: Number of active elements.
        gradient: Gradients of all elements, also of masked ones, if they are known.
    """
    for optimizer in with_inner(optimizers):
        state = optimizer.state.get(weight, {})
        for key in SECOND_MOMENTS:
            kept = state.get(key)
            if not (isinstance(kept, Tensor) and kept.shape == weight.shape and active):
                continue
            values, of_all = _real(local(kept)), _real(whole(kept))
            numbers = active * (of_all.numel() // kept.numel())
            first = (of_all.sum(dtype=torch.float64) / numbers).to(values.dtype)
            if gradient is not None:
                squares = _real(local(gradient)).square().mul_(_gathered(group_of(optimizer, weight), state))
                first = torch.maximum(first, squares.to(values.dtype))
            yield Start(values, first)


def _gathered(group: Mapping[str, Any], state: Mapping[str, Any]) -> Tensor | float:
    """The fraction of constant squared gradients that their running mean has reached: 1 after many steps."""
    betas, step = group.get("betas"), state.get("step", group.get("step"))
    return 1.0 if betas is None or step is None else 1 - betas[1] ** step


def _real(values: Tensor) -> Tensor:
    """The real numbers that a tensor consists of. Adam keeps squares of real and imaginary parts."""
    return torch.view_as_real(values) if values.is_complex() else values
