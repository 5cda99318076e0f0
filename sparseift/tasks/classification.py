"""Image classification, with top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import checks
from ..runs.metric import PERCENT, Metric
from .base import Task


class Classification(Task):
    """Cross-entropy loss of a network that maps images (N, C, H, W) to logits (N, classes).

    A batch has the images and their classes, int64 (N,), or probabilities of the classes, (N, classes), for images that
    have been mixed.

    Args:
        num_classes: Number of classes.
        channels: Channels of an image.
        image_size: Height and width of an image, in pixels.
        label_smoothing: Label smoothing of the training loss, in [0, 1]; `loss` has none.
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
        return F.cross_entropy(outputs, _as(outputs, batch[1]), reduction="none")

    def training_loss(self, outputs: Tensor, batch: Sequence[Tensor]) -> Tensor:
        """Return the mean as torch computes it: the mean over smoothed losses of samples rounds differently."""
        return F.cross_entropy(outputs, _as(outputs, batch[1]), label_smoothing=self.label_smoothing)

    def measure(self, outputs: Tensor, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return 1 where the class has the largest logit (acc1) or one of the five largest (acc5), and 0 elsewhere.

        The class of a mixed image is the most probable one.
        """
        targets = batch[1] if batch[1].dim() == 1 else batch[1].argmax(1)
        best = outputs.topk(min(5, self.num_classes)).indices
        # Unlike topk, argmax takes the first of equal logits, which are common in half precision.
        return {
            "acc1": (outputs.argmax(1) == targets).float(),
            "acc5": (best == targets[:, None]).any(1).float(),
        }

    def samples(self, batch: Sequence[Tensor]) -> int:
        return len(batch[1])

    def predict(self, net: nn.Module, preprocessing: Any, item: str, top: int = 5) -> list[dict[str, Any]]:
        """Return the most likely classes of an image file, with their probabilities.

        Args:
            top: Number of classes.
        """
        inputs = preprocessing(item).to(next(net.parameters()).device)
        probabilities = net(inputs)[0].double().softmax(0).cpu()
        best = probabilities.topk(min(top, len(probabilities)))
        return [
            {"class": preprocessing.name(index), "probability": probability}
            for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def _as(outputs: Tensor, targets: Tensor) -> Tensor:
    """The classes, or their probabilities in the type of the logits."""
    return targets if targets.dim() == 1 else targets.to(outputs.dtype)
