"""The LightningModule: trains and evaluates a network on a task. It does not depend on masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric

from ..common.checks import integer, require
from ..errors import UserError
from ..tasks import Task
from .optimizers import parameter_groups


class TrainingModule(pl.LightningModule):
    """A network, the task that it learns, and its optimizer.

    Measures train/loss of every step, train/loss_epoch, and the metrics of the task as train/NAME, val/NAME and
    test/NAME. `callbacks.TrainMetrics` passes those of training on to the loggers.

    Args:
        net: The network.
        task: The task.
        optimizer: Called with parameter groups.
        scheduler: Called with the optimizer; None for a constant learning rate.
        scheduler_interval: When the scheduler steps, "epoch" or "step".
        validates: Whether there is validation. `ReduceLROnPlateau` reads its loss, or else that of training.
        decay_norm_and_bias: Whether weight decay applies to parameters of fewer than two dimensions.
        compile: Whether to compile the network for training, or the mode of torch.compile. Evaluation and batches that
            are smaller than the first are not compiled, so that nothing is compiled twice.
    """

    def __init__(
        self,
        net: nn.Module,
        task: Task,
        optimizer: Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer],
        scheduler: Callable[[torch.optim.Optimizer], Any] | None,
        scheduler_interval: str,
        decay_norm_and_bias: bool,
        validates: bool = True,
        compile: bool | str = False,
    ):
        super().__init__()
        self.net = net
        self.task = task
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.scheduler_interval = scheduler_interval
        self.decay_norm_and_bias = decay_norm_and_bias
        self.compile_mode = compile
        self._compiled: Callable[..., Any] | None = None
        self._batch = 0
        self.observed = "val/loss" if validates else "train/loss_epoch"
        self.means = {stage: _means("loss", task) for stage in ("val", "test")}
        # Other NaN strategies synchronize with the device in every step.
        self.train_means = _means("loss_epoch", task, nan_strategy="disable")
        # Modules move to the device of the network. A list, since ModuleDict refuses some names.
        self.all_means = nn.ModuleList(
            mean for means in (*self.means.values(), self.train_means) for mean in means.values()
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.net(*args, **kwargs)

    def _outputs(self, batch: Any, compute: Callable[..., Any]) -> Any:
        args, kwargs = self.task.inputs(batch)
        return compute(*args, **kwargs)

    def _for_training(self, batch: Any) -> Callable[..., Any]:
        """What computes the outputs of a batch: the compiled network, or the network itself."""
        if self.compile_mode is False:
            return self.net
        samples = self.task.samples(batch)
        if self._compiled is None:  # not before training, because callbacks copy this module before
            mode = None if self.compile_mode is True else self.compile_mode
            compiled = torch.compile(self.net, mode=mode, dynamic=False)
            self._compiled, self._batch = partial(compiled), samples  # a module would be saved as a part of this one
        return self._compiled if samples == self._batch else self.net

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs = self._outputs(batch, self._for_training(batch))
        loss = self.task.training_loss(outputs, batch)
        with torch.no_grad():
            measured = self.task.measure(outputs, batch)
        count = len(measured[self.task.metrics[0].name])
        values = {"loss_epoch": loss.expand(count), **measured}
        for name, mean in self.train_means.items():
            mean.update(values[name])
            self.log(f"train/{name}", mean, on_step=False, on_epoch=True, logger=False)
        self.log("train/loss", loss, prog_bar=True, logger=False)
        return loss

    def on_train_epoch_start(self) -> None:
        for mean in self.train_means.values():
            mean.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = {}
        for name, mean in self.train_means.items():
            with mean.sync_context():  # adds up all ranks
                totals = {key: total for key, total in mean.metric_state.items() if isinstance(total, Tensor)}
                checkpoint["train_means"][name] = {key: total.clone() for key, total in totals.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # the other ranks start at zero: totals are summed over ranks
            for name, state in checkpoint["train_means"].items():
                for key, total in state.items():
                    setattr(self.train_means[name], key, total.to(self.device))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Any) -> None:
        outputs = self._outputs(batch, self.net)
        values = {"loss": self.task.loss(outputs, batch), **self.task.measure(outputs, batch)}
        for name, mean in self.means[stage].items():
            mean.update(values[name])
            shown = stage == "val" and name != "loss"
            self.log(f"{stage}/{name}", mean, on_step=False, on_epoch=True, prog_bar=shown)

    def configure_optimizers(self):
        optimizer = self.make_optimizer(parameter_groups(self.net, self.decay_norm_and_bias))
        if self.make_scheduler is None:
            return optimizer
        scheduler = self.make_scheduler(optimizer)
        options = {"scheduler": scheduler, "interval": self.scheduler_interval, "monitor": self.observed}
        if isinstance(scheduler, ReduceLROnPlateau) and self.scheduler_interval == "step":
            raise UserError("recipe.scheduler_interval is 'step'; expected epoch with ReduceLROnPlateau")
        return {"optimizer": optimizer, "lr_scheduler": options}

    def on_train_start(self) -> None:
        """Check that there is one validation loader at most, and that a schedule with a length, as OneCycleLR has, is
        as long as the run.
        """
        loaders = len(self.trainer.num_val_batches)
        require(loaders <= 1, "the number of validation loaders", loaders, "1, or 0 without validation")
        for configured in self.trainer.lr_scheduler_configs:
            by_step = configured.interval == "step"
            steps = self.trainer.estimated_stepping_batches if by_step else self.trainer.max_epochs
            length = getattr(configured.scheduler, "total_steps", steps)
            integer("recipe.scheduler.total_steps", length, int(steps or 0))


class _Mean(MeanMetric):
    """The mean over samples, or a function of the mean."""

    def __init__(self, of_mean: Callable[[float], float] | None, **options: Any):
        super().__init__(**options)
        self.of_mean = of_mean

    def compute(self) -> Tensor:
        mean = super().compute()
        if self.of_mean is None:
            return mean
        try:
            return mean.new_tensor(self.of_mean(float(mean)))
        except OverflowError:  # of math.exp
            return mean.new_tensor(inf)


def _means(loss: str, task: Task, **options: Any) -> dict[str, _Mean]:
    """The means of the loss, under this name, and of the metrics."""
    return {loss: _Mean(None, **options), **{metric.name: _Mean(metric.of_mean, **options) for metric in task.metrics}}
