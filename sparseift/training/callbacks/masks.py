"""The masks of a run, moved and applied by Lightning's hooks."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch

from ...common.console import waiting
from ...errors import UserError
from ...masks.masks import Masks
from ...sparsifiers.base import Sparsifier
from ...sparsifiers.probe import Probe
from ...sparsity.plan import Plan


class MaskCallback(pl.Callback):
    """Masks weights and gradients, and lets the sparsifier choose the masks at the start and move them in the steps
    where an update is due.

    It acts where Lightning has the gradients final: summed over micro-batches, averaged over ranks, unscaled, not yet
    clipped. So every rank sees the same growth scores and moves its masks alike, which is verified. A step whose
    gradients are not finite moves nothing by them.

    probed: samples of all ranks that the masks at the start were computed from, forward and backward.
    update_due: whether the masks are updated in the optimizer step in progress.
    updated_at: the optimizer step (1, 2, ...) of the last update in this process, 0 before. drop_fraction: in it.
    """

    def __init__(self, masks: Masks, plan: Plan, sparsifier: Sparsifier, seed: int):
        self.masks = masks
        self.plan = plan
        self.sparsifier = sparsifier
        self.seed = seed
        self.probed = 0
        self.update_due = False
        self.updated_at = 0
        self.drop_fraction = 0.0
        self._resumed = False
        self._total = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.masks.to_weights()
        self._total = int(trainer.estimated_stepping_batches)
        if not self._resumed:
            with waiting("first masks"):
                probe = self._probe(trainer, pl_module) if self.sparsifier.batches else None
                self.sparsifier.start(self.masks, self.plan, self.seed, probe)
            self.probed = probe.samples * trainer.world_size if probe else 0
        self.masks.apply()
        self._verify(trainer)

    @property
    def reads_dense_gradients(self) -> bool:
        """Whether the optimizer step in progress computes the gradients of masked weights for the sparsifier."""
        return self.update_due and self.sparsifier.dense_gradient

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.update_due = self.sparsifier.due(trainer.global_step + 1, self._total)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        step = trainer.global_step + 1
        if self.update_due:
            self.sparsifier.update(self.masks, trainer.optimizers, step, self._total, self.seed)
            self._verify(trainer)
            self.updated_at, self.drop_fraction = step, self.sparsifier.fraction(step, self._total)
        self.masks.mask_gradients()

    def state_dict(self) -> dict[str, Any]:
        return {
            "masks": self.masks.state_dict(),
            "active": dict(self.masks.active),
            "planned": dict(self.masks.planned),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, count in self.masks.planned.items():
            saved = state["planned"].get(name, count)
            if saved != count:
                raise UserError(
                    f"the saved mask of {name} is to end with {saved} active weights, not {count}: sparsity differs"
                )
        self.masks.load_state_dict(state["masks"], state["active"])
        self._resumed = True

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.state_key not in checkpoint.get("callbacks", {}):
            raise UserError(
                "the checkpoint has no masks: it is not of a sparse run, and a sparse run can't go on from it"
            )

    def _verify(self, trainer: pl.Trainer) -> None:
        """Masks that differ between ranks would train a network that no rank has: end the run before they do."""
        if trainer.world_size == 1:
            return
        own = self.masks.checksums()
        of_all = trainer.strategy.all_gather(torch.tensor(list(own.values()), device=trainer.strategy.root_device))
        different = [name for name, sums in zip(own, of_all.T, strict=True) if sums.unique().numel() > 1]
        if different:
            raise RuntimeError(
                f"ranks have different masks of {', '.join(different)} in step {trainer.global_step + 1}"
            )

    def _probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Probe:
        """The network with the first training batches of this rank, from a loader of their own: training begins with
        the same ones."""
        strategy = trainer.strategy
        with torch.random.fork_rng(devices=[]):  # making an iterator may draw a seed
            batches = list(islice(trainer.datamodule.train_dataloader(), self.sparsifier.batches))
        on_device = [strategy.batch_to_device(strategy.precision_plugin.convert_input(batch)) for batch in batches]
        mean = partial(strategy.reduce, reduce_op="mean")
        return Probe(pl_module, self.masks.weights, on_device, pl_module.task, mean)


def mask_callback(trainer: pl.Trainer) -> MaskCallback | None:
    """The one that moves the masks of a run, if it has any."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, MaskCallback)), None)
