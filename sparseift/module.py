"""The LightningModule: image classification with top-1 and top-5 accuracy. It knows nothing of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from .errors import UserError

STAGES = ("val", "test")


class Classifier(pl.LightningModule):
    """Cross-entropy training of a network that maps images (N, C, H, W) to logits (N, classes).

    optimizer: called with parameter groups. scheduler: called with the optimizer, stepped every `scheduler_interval`
    ('epoch' or 'step'). label_smoothing: of the training loss only. decay_norm_and_bias: whether parameters of fewer
    than two dimensions take part in weight decay.
    """

    def __init__(
        self,
        net: nn.Module,
        num_classes: int,
        optimizer: Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any] | None,
        scheduler_interval: str,
        label_smoothing: float,
        decay_norm_and_bias: bool,
    ):
        super().__init__()
        if not isinstance(label_smoothing, int | float) or not 0 <= label_smoothing <= 1:
            raise UserError(f"recipe.label_smoothing is {label_smoothing}; a number from 0 to 1 is meant")
        self.net = net
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.scheduler_interval = scheduler_interval
        self.label_smoothing = label_smoothing
        self.decay_norm_and_bias = decay_norm_and_bias
        accuracy = {
            f"acc{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro") for k in (1, 5)
        }
        self.metrics = nn.ModuleDict(
            {stage: MetricCollection(accuracy, prefix=f"{stage}/").clone() for stage in STAGES}
        )
        self.losses = nn.ModuleDict({stage: MeanMetric() for stage in STAGES})
        self.train_acc1 = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.train_acc1.update(logits, labels)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/acc1", self.train_acc1, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_start(self) -> None:
        self.train_acc1.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        with self.train_acc1.sync_context():  # of all ranks
            counts = {name: count.clone() for name, count in self.train_acc1.metric_state.items()}
        checkpoint["train_acc1"] = counts

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # the others start from nothing, and all of them are added up
            for name, count in checkpoint["train_acc1"].items():
                setattr(self.train_acc1, name, count.to(self.device))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        images, labels = batch
        logits = self.net(images)
        self.losses[stage].update(F.cross_entropy(logits, labels, reduction="none"))
        self.metrics[stage].update(logits, labels)
        self.log(f"{stage}/loss", self.losses[stage], on_step=False, on_epoch=True)
        self.log_dict(self.metrics[stage], on_step=False, on_epoch=True, prog_bar=stage == "val")

    def configure_optimizers(self):
        optimizer = self.make_optimizer(self._parameter_groups())
        if self.make_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.make_scheduler(optimizer), "interval": self.scheduler_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        if self.decay_norm_and_bias:
            return [{"params": trained}]
        matrices = [parameter for parameter in trained if parameter.dim() > 1]
        vectors = [parameter for parameter in trained if parameter.dim() <= 1]
        return [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
