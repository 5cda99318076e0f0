"""Optimizers: parameter groups, and torch's fused steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import nn


def parameter_groups(net: nn.Module, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Return the trainable parameters of a network as groups of an optimizer.

    Args:
        decay_norm_and_bias: Whether weight decay applies to parameters of fewer than two dimensions.
    """
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": trained}]
    matrices = [parameter for parameter in trained if parameter.dim() > 1]
    vectors = [parameter for parameter in trained if parameter.dim() <= 1]
    return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]


def with_fused_step(
    optimizer: Callable[..., torch.optim.Optimizer], precision: str, clips: bool
) -> Callable[..., torch.optim.Optimizer]:
    """Return the optimizer with torch's fused step where it has one and can use it: it takes a third of the time.

    A fused step unscales gradients itself. That is too late for masks that move by gradients, and for gradient
    clipping, which Lightning refuses in mixed precision.

    Args:
        optimizer: Called with parameter groups. Where it is a `partial` that chooses an implementation (fused,
            foreach, differentiable), it is returned as it is.
        precision: Of the Trainer.
        clips: Whether the Trainer clips gradients.
    """
    too_late = precision.startswith("16") or (clips and precision.startswith("bf16"))
    chosen = {"fused", "foreach", "differentiable"} & getattr(optimizer, "keywords", {}).keys()
    try:
        offered = "fused" in signature(optimizer).parameters
    except ValueError:  # its arguments do not fit, which the call reports
        offered = False
    return partial(optimizer, fused=True) if offered and not (chosen or too_late) else optimizer
