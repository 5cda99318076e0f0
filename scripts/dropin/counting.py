"""The FLOPs of a network by torch's own counter, which shares no code with the plan."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sparseift.graph.copies import duplicate
from sparseift.graph.examples import Example, inputs_of, tensor_leaves
from sparseift.sparsity import Plan


def counted(net: nn.Module, example: Example) -> int:
    """Return the FLOPs of one sample by torch's counter, with attention as plain products."""
    args, kwargs = inputs_of(example)
    samples = tensor_leaves(example)[0]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused kernel, which the counter does not see
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
            duplicate(net).to(samples.device).eval().requires_grad_(False)(*args, **kwargs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops() // len(samples)


def counted_ratio(net: nn.Module, example: Example, plan: Plan, dense: int) -> float:
    """Return the FLOPs of the transformed network, less those of masked weights, relative to those of the dense one."""
    return (counted(net, example) - (plan.forward_stored - plan.forward)) / dense
