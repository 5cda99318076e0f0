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

from ..errors import UserError

STAGES = ("val", "test")
TRAIN_MEANS = ("loss_epoch", "acc1", "acc5")


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
        accuracy = MetricCollection(
            {f"acc{k}": MulticlassAccuracy(num_classes, top_k=min(k, num_classes), average="micro") for k in (1, 5)},
            compute_groups=False,
        )
        self.metrics = nn.ModuleDict({stage: accuracy.clone(prefix=f"{stage}/") for stage in STAGES})
        self.losses = nn.ModuleDict({stage: MeanMetric() for stage in STAGES})
        # of training, means that never wait for the device: not to look for NaN, nor to find the top 5
        self.train_means = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in TRAIN_MEANS})

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        values = loss.expand(len(labels)), best[:, 0].float(), best.any(1).float()
        for (name, metric), of_samples in zip(self.train_means.items(), values, strict=True):
            metric.update(of_samples)
            self.log(f"train/{name}", metric, on_step=False, on_epoch=True)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_start(self) -> None:
        for metric in self.train_means.values():
            metric.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = {}
        for name, metric in self.train_means.items():
            with metric.sync_context():  # of all ranks
                checkpoint["train_means"][name] = {key: total.clone() for key, total in metric.metric_state.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # the others start from nothing, and all of them are added up
            for name, state in checkpoint["train_means"].items():
                for key, total in state.items():
                    setattr(self.train_means[name], key, total.to(self.device))

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
