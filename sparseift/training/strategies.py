"""Which strategies of Lightning masks work with."""

from __future__ import annotations

from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy, Strategy

from ..common.checks import require


def check_strategy(strategy: Strategy) -> None:
    """Raise `UserError` if a strategy replaces, shards or hides the parameters and their gradients.

    FSDP and ModelParallel shard parameters, and DeepSpeed keeps gradients elsewhere: masks would have no effect.
    """
    whole = isinstance(strategy, SingleDeviceStrategy | DDPStrategy) and not isinstance(strategy, DeepSpeedStrategy)
    expected = "auto or ddp: masks need whole parameters and gradients on every device"
    require(whole, "trainer.strategy", type(strategy).__name__, expected)
