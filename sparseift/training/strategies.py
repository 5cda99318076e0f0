"""Which strategies of Lightning masks work with, and how gradients are exchanged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy

from ..common.checks import require
from .sharding import NAME, Sharded

DDP = {"ddp": False, "ddp_find_unused_parameters_false": False, "ddp_find_unused_parameters_true": True}
"""Lightning's names of DDP with a process per device, and whether it looks for parameters without a gradient."""


def with_options(strategy: Any, devices: int, layers: Iterable[str] = ()) -> Any:
    """Return the strategy that a name stands for, with the options that suit masks.

    DDP gets gradients that are views of the buffers that the ranks exchange, which saves a copy of all gradients. A
    static graph would save nothing more: DDP looks through the graph only for parameters without a gradient, and those
    may be others in every step. "fsdp" is `sharding.Sharded`; Lightning's strategy of that name flattens weights.

    Args:
        strategy: A name, or a strategy with options of its own, which stays as it is.
        devices: Number of devices of all nodes.
        layers: Layers of the network that `Sharded` gathers one at a time.
    """
    name = "ddp" if strategy == "auto" and devices > 1 else strategy
    if name == NAME:
        return Sharded(layers)
    if not isinstance(name, str) or name not in DDP:
        return strategy
    return DDPStrategy(find_unused_parameters=DDP[name], gradient_as_bucket_view=True)


def check_strategy(strategy: Strategy) -> None:
    """Raise `UserError` if a strategy replaces, shards or hides the parameters and their gradients.

    Lightning's FSDP flattens parameters, ModelParallel expects a module that shards itself, and DeepSpeed keeps
    gradients elsewhere: masks would have no effect.
    """
    whole = isinstance(strategy, SingleDeviceStrategy | DDPStrategy) and not isinstance(strategy, DeepSpeedStrategy)
    expected = f"auto, ddp or {NAME}, with which masks have an effect"
    require(whole, "trainer.strategy", type(strategy).__name__, expected)
