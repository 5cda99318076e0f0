"""The base of data modules of labelled images."""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...common import checks
from ..base import DataModule
from .augment import Normalize
from .split import stratified_split
from .strong import StrongAugmentation
from .views import LabelledImages, Transform


class ImageData(DataModule):
    """Labelled images. Every class has the same fraction of images in the validation set.

    `load` returns `LabelledImages`. Loaders return uint8 images (B, C, H, W) and int64 classes (B,). On the device, the
    Trainer calls `on_after_batch_transfer`, which returns normalized float32 images.

    Args:
        num_classes: Number of classes, which must match the data.
        channels: Channels of the images in a batch.
        image_size: Height and width of the images in a batch.
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel, of images in [0, 1].
        augmentation: Arguments of `StrongAugmentation`, for recipes that have it; None for none.
        common: Arguments of `DataModule`. `seed` also seeds the augmentation.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Mapping[str, Any] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.num_classes = checks.integer("dataset.num_classes", num_classes, 1)
        self.channels = checks.integer("dataset.channels", channels, 1)
        self.image_size = checks.integer("dataset.image_size", image_size, 1)
        for name, values, least in ("mean", mean, -inf), ("std", std, 0.0):
            fits = isinstance(values, Sequence) and all(type(value) in (int, float) for value in values)
            fits = fits and len(values) in (1, channels) and all(least < value < inf for value in values)
            above = " above 0" if name == "std" else ""
            checks.require(fits, f"dataset.{name}", values, f"a list of {channels} finite numbers{above}, or of one")
        self.mean, self.std = mean, std
        self.normalize = Normalize(mean, std)
        self.strong = StrongAugmentation(**augmentation) if augmentation else None

    def check(self, images: LabelledImages, train: bool) -> None:
        super().check(images, train)
        least, most = torch.as_tensor(images.targets).aminmax()
        kind = "training" if train else "test"
        checks.integer(f"the smallest class of the {kind} images", int(least), 0)
        if train:
            found = len(images.classes)
            fits = found == self.num_classes
            checks.require(fits, "dataset.num_classes", self.num_classes, f"{found}, as in the data")
        checks.integer(f"the largest class of the {kind} images", int(most), 0, self.num_classes - 1)

    def split(self, images: LabelledImages) -> tuple[Tensor, Tensor]:
        return stratified_split(torch.as_tensor(images.targets), self.val_size, self.split_seed)

    @property
    def eval_resize(self) -> int:
        """Length of the shorter side of an image before its center is cropped, for validation and test."""
        return self.image_size

    def preprocessing(self, folder: Path) -> dict[str, Any]:
        return {
            "_target_": "sparseift.data.images.preprocessing.ImagePreprocessing",
            **{"resize": self.eval_resize, "size": self.image_size, "channels": self.channels},
            **{"mean": list(self.mean), "std": list(self.std)},
            "classes": self.class_names(),
        }

    def class_names(self) -> list[str] | None:
        """Return the names of the classes, None before the images have been read."""
        known = vars(self).get("_training")
        return [str(name) for name in known[0].classes] if known else None

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed, for which their batches have keys (see `augment.keys_of`)."""
        return self.strong is not None and self.strong.mixes

    def more_transforms(self) -> list[Transform]:
        """Return the transforms of a recipe for a training image, uint8 (C, H, W), that has been cropped."""
        return self.strong.transforms(self.mean, self.std) if self.strong else []

    def finish(self, images: Tensor, keys: Tensor | None = None) -> Tensor:
        """Return the images of a batch as normalized float32 (B, C, H, W), augmented if they are training images."""
        return self.normalize(images)

    def on_after_batch_transfer(self, batch: Sequence[Tensor], dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """Return the images of a batch of any loader as inputs of the network, and their classes.

        The classes are int64 (B,), or probabilities (B, num_classes) for training images that have been mixed.
        """
        images, targets, *keys = batch
        images = self.finish(images, *keys)
        if keys and self.strong and self.strong.mixes:
            images, targets = self.strong.mix(images, targets, keys[0], self.num_classes)
        return self.trainer.precision_plugin.convert_input(images) if self.trainer else images, targets

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Load the position. Checkpoints of version 0.1 name samples images."""
        super().load_state_dict({"samples" if key == "images" else key: value for key, value in state_dict.items()})
