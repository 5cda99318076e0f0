"""Classification of images, judged by top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..common import checks
from ..runs.metric import PERCENT, Metric
from .base import Task


class Classification(Task):
    """Cross-entropy of a network that maps images (N, C, H, W) to logits (N, classes).

    Args:
        num_classes: Classes of the data set.
        channels: Channels of an image.
        image_size: Height and width of an image, in pixels.
        label_smoothing: Of the training loss, in [0, 1]. Evaluation and probes use the loss without it.
    """

    metrics = (Metric("acc1", "top-1", PERCENT), Metric("acc5", "top-5", PERCENT))

    def __init__(self, num_classes: int, channels: int, image_size: int, label_smoothing: float) -> None:
        self.num_classes = checks.integer("dataset.num_classes", num_classes, 1)
        self.channels = checks.integer("dataset.channels", channels, 1)
        self.image_size = checks.integer("dataset.image_size", image_size, 1)
        self.label_smoothing = checks.number("recipe.label_smoothing", label_smoothing, 0, 1)

    def example(self) -> Tensor:
        return torch.empty(1, self.channels, self.image_size, self.image_size, device="meta")

    def inputs(self, batch: Sequence[Tensor]) -> tuple[tuple, dict]:
        return (batch[0],), {}

    def loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(outputs, batch[1], reduction="none")

    def training_loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Reduced by torch: the mean of smoothed losses rounds differently."""
        return F.cross_entropy(outputs, batch[1], label_smoothing=self.label_smoothing)

    def measure(self, outputs: Tensor, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        """Whether the class is the one of the largest logit, and whether it is one of the five largest."""
        targets = batch[1]
        best = outputs.topk(min(5, self.num_classes)).indices
        # argmax takes the first of equal logits, which are common in half precision; topk takes any
        return {
            "acc1": (outputs.argmax(1) == targets).float(),
            "acc5": (best == targets[:, None]).any(1).float(),
        }

    def samples(self, batch: Sequence[Tensor]) -> int:
        return len(batch[1])
