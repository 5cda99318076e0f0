"""The data module of every data set: splits, and loaders that resume and shard."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..common import checks
from ..common.console import waiting
from .loader import ResumableLoader, ignore_signals
from .sampler import EpochBatches, EvalShard, rank_and_world


class DataModule(pl.LightningDataModule, ABC):
    """A training set, a validation set held out of it, and a test set that only testing reads.

    A data set defines `load`. It may define how samples are split, seen by the loaders, and collated into batches. The
    training set is loaded when `setup("fit")` is called or a loader first needs it.

    Args:
        batch_size: Samples of one device in one batch.
        val_size: Samples held out of the training set; 0 for no validation.
        num_workers: Processes that load samples; 0 loads them in the main process.
        seed: Of the order of the training samples.
        split_seed: Of the choice of the validation samples, which runs of every `seed` should share.
    """

    def __init__(self, *, batch_size: int, val_size: int, num_workers: int, seed: int, split_seed: int) -> None:
        super().__init__()
        self.batch_size = checks.integer("dataset.batch_size", batch_size, 1)
        self.val_size = checks.integer("dataset.val_size", val_size, 0)
        self.num_workers = checks.integer("dataset.num_workers", num_workers, 0)
        self.seed = seed
        self.split_seed = split_seed
        self._restored: dict[str, int] | None = None

    @abstractmethod
    def load(self, train: bool) -> Any:
        """Return the whole training set, or the test set: samples by index, with a length.

        Raises:
            UserError: The data is missing, or not as configured.
        """

    def split(self, samples: Any) -> tuple[Tensor, Tensor]:
        """Return the indices of training and of validation samples, (N,) int64, both ascending."""
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(self.split_seed))
        return order[self.val_size :].sort().values, order[: self.val_size].sort().values

    def train_view(self, samples: Any, indices: Tensor) -> Dataset:
        """Return the data set of the samples at `indices`; its `__getitems__` takes (epoch, positions in `indices`)."""
        return TrainView(samples, indices)

    def eval_view(self, samples: Any, indices: Tensor) -> Dataset:
        """Return the data set of the samples at `indices`, by position in `indices`."""
        return EvalView(samples, indices)

    collate: Callable[[Any], Any] = staticmethod(default_collate)
    """Makes a batch of what a view gives for the positions of the batch."""

    def setup(self, stage: str) -> None:
        if stage in ("fit", "validate"):
            _ = self._training

    @cached_property
    def _training(self) -> tuple[Any, Tensor, Tensor]:
        """The training set, the indices to train on, and the indices to validate on."""
        with waiting("training data"):
            samples = self.load(train=True)
        checks.integer("dataset.val_size", self.val_size, 0, len(samples) - 1)
        return samples, *self.split(samples)

    def train_dataloader(self) -> ResumableLoader:
        """Return the shuffled training samples, from the position of a checkpoint on."""
        samples, indices, _ = self._training
        trainer = self.trainer
        # `trainer.current_epoch` counts completed epochs, without one whose last hooks are still to run.
        epoch = trainer.fit_loop.epoch_progress.current.processed if trainer else 0  # type: ignore[attr-defined]
        loader = ResumableLoader(
            self.train_view(samples, indices),
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
        """Return the validation samples in order, or no loader if `val_size` is 0."""
        samples, _, indices = self._training
        return self._eval_loader(samples, indices, persistent_workers=self.num_workers > 0) if self.val_size else []

    def test_dataloader(self) -> DataLoader:
        """Return the test samples in order."""
        with waiting("test data"):
            samples = self.load(train=False)
        return self._eval_loader(samples, torch.arange(len(samples)))

    def _eval_loader(self, samples: Any, indices: Tensor, **options: Any) -> DataLoader:
        return DataLoader(
            self.eval_view(samples, indices),
            batch_size=self.batch_size,
            sampler=EvalShard(len(indices)),
            generator=torch.Generator(),
            worker_init_fn=ignore_signals,
            **self._loader_options(),
            **options,
        )

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {"num_workers": self.num_workers, "collate_fn": self.collate, "pin_memory": on_gpu}

    def state_dict(self) -> dict[str, int]:
        """Return the position of the Trainer's training loader (see `ResumableLoader`)."""
        loader = self.trainer.train_dataloader if self.trainer else None
        return loader.state_dict() if isinstance(loader, ResumableLoader) else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._restored = state_dict
        rank, devices = rank_and_world()
        before = state_dict.get("devices", devices)
        if rank == 0 and before != devices:
            now, then = f"{devices} x {self.batch_size}", f"{before} x {state_dict['global_batch'] // before}"
            print(f"resuming with {now} samples a batch; the checkpoint is of {then}")

    def teardown(self, stage: str) -> None:
        """Forget the position of the checkpoint: the next fit of this data module starts where its Trainer is."""
        self._restored = None


class EvalView(Dataset):
    """The samples at `indices`, by position in `indices`."""

    def __init__(self, samples: Any, indices: Tensor) -> None:
        self.samples = samples
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        return self.samples[int(self.indices[position])]


class TrainView(EvalView):
    """The samples at `indices`, which are the same in every epoch; batches by (epoch, positions in `indices`)."""

    def __getitems__(self, places: tuple[int, Tensor]) -> list[Any]:
        _, positions = places
        return [self[position] for position in positions.tolist()]
