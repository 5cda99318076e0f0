"""Exponential moving average of the weights."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from ...common.checks import number, require
from ...masks.inplace import mask_all_in_place
from ..checkpoints import CURRENT
from .masks import ObservesMasks
from .steps import NeedsSteps

MODULE = "module."
"""Prefix of the averaged tensors in the state dict of an `AveragedModel`."""


class EMA(ObservesMasks, NeedsSteps):
    """Computes average = decay * average + (1 - decay) * weight after every optimizer step, of buffers as well.

    Validation uses the average, and the network takes it over at the end of the fit. The averages of masked weights
    are zero. The average does not affect training or mask updates.

    A checkpoint holds the average as `state_dict` and the weights as `current_model_state`, as Lightning's
    `WeightAveraging` does.

    The first step sets the average to the weights, which keep a share of decay^(steps - 1) in it: more than a third
    in a run of less than 1 / (1 - decay) steps, which is therefore refused.

    Args:
        decay: Factor of the previous average, in [0, 1).
    """

    def __init__(self, decay: float):
        self.decay = number("callbacks.ema.decay", decay, 0, 1, open_at=")")
        self.average: AveragedModel | None = None
        self._averaged_at = 0

    def check_steps(self, total: int) -> None:
        needed = round(1 / (1 - self.decay))
        expected = (
            f"at most {1 - 1 / total:.4g} for the {total} optimizer steps of this run; the average leaves the initial "
            f"weights after 1 / (1 - decay) = {needed} steps"
        )
        require(total >= needed, "callbacks.ema.decay", self.decay, expected)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            average = get_ema_avg_fn(decay=self.decay)
            self.average = AveragedModel(pl_module, device=pl_module.device, avg_fn=average, use_buffers=True)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to the device of the network, but not its step count, which torch reads in every step."""
        self._averaged.module.to(pl_module.device)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step == self._averaged_at:
            return
        self._averaged_at = trainer.global_step
        self._averaged.update_parameters(pl_module)
        if self.mask_callback:
            masks = self.mask_callback.masks
            averages = {name: self._averaged.module.get_parameter(f"net.{name}.weight") for name in masks}
            mask_all_in_place((averages[name], masks[name]) for name in masks)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap(pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Copy the average to the network, even if the fit had no steps. From now on, checkpoints load unchanged."""
        for current, average in zip(_tensors(pl_module), _tensors(self._averaged.module), strict=True):
            current.copy_(average)
        self.average = None

    def state_dict(self) -> dict[str, Any]:
        return {"latest_update_step": self._averaged_at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._averaged_at = state["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.average is None:
            return
        state = self.average.state_dict()
        checkpoint[CURRENT] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            name.removeprefix(MODULE): value for name, value in state.items() if name.startswith(MODULE)
        }
        checkpoint["averaging_state"] = {name: value for name, value in state.items() if not name.startswith(MODULE)}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.average is None:
            return
        state = {MODULE + name: value for name, value in checkpoint["state_dict"].items()}
        self.average.load_state_dict(state | checkpoint["averaging_state"])
        pl_module.load_state_dict(checkpoint[CURRENT])  # Lightning has loaded the average into the network

    @property
    def _averaged(self) -> AveragedModel:
        assert self.average is not None, "the average exists during a fit"
        return self.average

    def _swap(self, pl_module: pl.LightningModule) -> None:
        if self.average is not None:
            for current, average in zip(_tensors(pl_module), _tensors(self.average.module), strict=True):
                kept = average.clone()
                average.copy_(current)
                current.copy_(kept)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(module.parameters(), module.buffers())]
