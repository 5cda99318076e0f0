"""Other implementations, measured in the same process if they are installed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch

from .harness import Figure, Phase
from .network import Training


def rigl_torch(train: Training) -> list[Phase] | Figure:
    """Return masking and a mask update of rigl-torch on a copy of the network, or a figure that says why not.

    The functions are called as the hooks and the `step` of rigl-torch call them.
    """
    try:
        from rigl_torch.RigL import RigLScheduler
    except ImportError:
        return Figure("rigl-torch", note="skipped: not installed (pip install rigl-torch)")
    net = deepcopy(train.net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    scheduler = RigLScheduler(net, optimizer, dense_allocation=train.masks.density, T_end=10**6, delta=100, alpha=0.3)
    masked = [(weight, hook) for weight, hook in zip(scheduler.W, scheduler.backward_hook_objects, strict=True) if hook]
    for weight in net.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer.step()

    def mask() -> None:
        for weight, hook in masked:
            hook(weight.grad)
        scheduler.reset_momentum()
        scheduler.apply_mask_to_weights()

    def dense_gradients() -> None:
        for weight, hook in masked:
            hook.dense_grad = torch.randn_like(weight)

    update: Callable[[], None] = scheduler._rigl_step
    return [Phase("rigl-torch: masking", mask), Phase("rigl-torch: update", update, dense_gradients)]
