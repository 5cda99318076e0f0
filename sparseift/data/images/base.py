"""The data module that all data sets share: splits, loaders, resume."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ...common.console import waiting
from ...errors import UserError
from ..loader import ResumableLoader, ignore_signals
from ..sampler import EpochBatches, EvalShard, rank_and_world
from .augment import Normalize
from .split import stratified_split
from .views import LabelledImages


class ImageData(pl.LightningDataModule, ABC):
    """Labelled images: a training set, a validation set held out of it, and a test set that is read in the
    end.

    A data set says how to `load` its images, and by which views the loaders see them. Loaders give uint8 images
    (B, C, H, W) and int64 classes (B,); `on_after_batch_transfer`, which a Trainer calls by itself, makes normalised
    float32 images of them, on the device that trains. Images are loaded when a loader is first asked for.

    Args:
        batch_size: images of one device in one batch.
        val_size: images held out of the training set, each class in its share; 0 for no validation.
        num_workers: processes that load images; 0 loads in the main one.
        seed: of the order and the augmentation of the training images.
        split_seed: of the choice of the validation images, which runs of every `seed` should share.
        num_classes, channels, image_size: what the batches have; known without the data, checked against it.
        mean, std: per channel, of images in [0, 1].
    """

    def __init__(
        self,
        *,
        batch_size: int,
        val_size: int,
        num_workers: int,
        seed: int,
        split_seed: int,
        num_classes: int,
        channels: int,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"dataset.batch_size={batch_size}: must be at least 1")
        if num_workers < 0:
            raise UserError(f"dataset.num_workers={num_workers}: must be at least 0")
        for name, values in ("mean", mean), ("std", std):
            number = isinstance(values, Sequence) and all(isinstance(value, int | float) for value in values)
            if not number or len(values) not in (1, channels) or (name == "std" and min(values) <= 0):
                raise UserError(
                    f"dataset.{name}={values}: must be a list of {channels} numbers, or of one for all channels"
                    + ", above 0" * (name == "std")
                )
        self.batch_size = batch_size
        self.val_size = val_size
        self.num_workers = num_workers
        self.seed = seed
        self.split_seed = split_seed
        self.num_classes = num_classes
        self.channels = channels
        self.image_size = image_size
        self.normalize = Normalize(mean, std)
        self._restored: dict[str, int] | None = None

    @abstractmethod
    def load(self, train: bool) -> LabelledImages:
        """The whole training set, or the test set. UserError where it is missing or not as configured."""

    @abstractmethod
    def train_view(self, images: LabelledImages, indices: Tensor) -> Dataset:
        """The images at `indices`, asked for as (epoch, position in `indices`)."""

    @abstractmethod
    def eval_view(self, images: LabelledImages, indices: Tensor) -> Dataset:
        """The images at `indices`, asked for as positions in them."""

    collate = staticmethod(default_collate)
    """From what a view gives for the places of a batch to the batch."""

    def finish(self, images: Tensor) -> Tensor:
        """Images of a batch as the loader gave it -> float32 (B, C, H, W), on the device that the batch is on."""
        return self.normalize(images)

    def on_after_batch_transfer(self, batch: Sequence[Tensor], dataloader_idx: int = 0) -> tuple[Tensor, Tensor]:
        """A batch of any loader of this -> (images as the network takes them, classes)."""
        images, targets, *more = batch
        images = self.finish(images, *more)
        return self.trainer.precision_plugin.convert_input(images) if self.trainer else images, targets

    @cached_property
    def _training(self) -> tuple[LabelledImages, Tensor, Tensor]:
        """Images that are not test images; indices to train on; indices to validate on."""
        with waiting("training images"):
            images = self.load(train=True)
        if len(images.classes) != self.num_classes:
            raise UserError(
                f"dataset.num_classes={self.num_classes} does not fit the data: "
                f"dataset.num_classes={len(images.classes)}"
            )
        if not 0 <= self.val_size < len(images):
            raise UserError(
                f"dataset.val_size={self.val_size}: must be from 0 to {len(images) - 1}, it is held out of "
                f"{len(images)} training images"
            )
        return images, *stratified_split(torch.as_tensor(images.targets), self.val_size, self.split_seed)

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled, augmented training images, from where a checkpoint left off."""
        images, indices, _ = self._training
        trainer = self.trainer
        epoch = trainer.fit_loop.epoch_progress.current.processed if trainer else 0
        loader = ResumableLoader(
            self.train_view(images, indices),
            EpochBatches(len(indices), self.batch_size, self.seed),
            epoch=epoch,
            limit=trainer.limit_train_batches if trainer else 1.0,
            persistent_workers=self.num_workers > 0,
            **self._loader_options(),
        )
        if self._restored and self._restored["epoch"] >= epoch:
            loader.load_state_dict(self._restored)
        return loader

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The held-out images as they are, or no loader if `val_size` is 0."""
        images, _, indices = self._training
        return self._eval_loader(images, indices, persistent_workers=self.num_workers > 0) if self.val_size else []

    def test_dataloader(self) -> DataLoader:
        """The test images as they are; nothing else reads them."""
        with waiting("test images"):
            images = self.load(train=False)
        return self._eval_loader(images, torch.arange(len(images)))

    def _eval_loader(self, images: LabelledImages, indices: Tensor, **options: Any) -> DataLoader:
        return DataLoader(
            self.eval_view(images, indices),
            batch_size=self.batch_size,
            sampler=EvalShard(len(indices)),
            generator=torch.Generator(),
            worker_init_fn=ignore_signals,
            **self._loader_options(),
            **options,
        )

    def _loader_options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "collate_fn": self.collate,
            "pin_memory": bool(self.trainer) and self.trainer.strategy.root_device.type == "cuda",
        }

    def state_dict(self) -> dict[str, int]:
        """The position of the loader that the Trainer trains with (see `ResumableLoader`)."""
        loader = self.trainer.train_dataloader if self.trainer else None
        return loader.state_dict() if isinstance(loader, ResumableLoader) else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._restored = state_dict
        rank, devices = rank_and_world()
        before = state_dict.get("devices", devices)
        if rank == 0 and before != devices:
            each = state_dict["global_batch"] // before
            print(f"going on with {devices} x {self.batch_size} images a batch, where it was {before} x {each}")

    def teardown(self, stage: str) -> None:
        """Forget the checkpoint's position: the next fit of this data module begins where its Trainer is."""
        self._restored = None
