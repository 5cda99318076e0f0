"""The base of data modules: splits, and loaders that resume and shard."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..common import checks
from ..common.console import waiting
from .loader import ResumableLoader, check_batches, prepare_for_workers, start_worker
from .sampler import EpochBatches, EvalShard, rank_and_world

LARGEST_TORCH_SEED = 2**63 - 1


class DataModule(pl.LightningDataModule, ABC):
    """A training set, a validation set held out of it, and a test set.

    A subclass defines `load`. It may also override `check`, `split`, `train_view`, `eval_view` and `collate`.

    Args:
        batch_size: Samples per batch and device.
        val_size: Number of samples held out for validation; 0 for no validation.
        num_workers: Number of processes that load samples; 0 loads them in the main process.
        seed: Seed of the order of the training samples, an integer in [0, 2**63).
        split_seed: Seed of the choice of the validation samples, an integer in [0, 2**63).
    """

    def __init__(self, *, batch_size: int, val_size: int, num_workers: int, seed: int, split_seed: int) -> None:
        super().__init__()
        self.batch_size = checks.integer("dataset.batch_size", batch_size, 1)
        self.val_size = checks.integer("dataset.val_size", val_size, 0)
        self.num_workers = checks.integer("dataset.num_workers", num_workers, 0)
        self.seed = checks.integer("dataset.seed", seed, 0, LARGEST_TORCH_SEED)
        self.split_seed = checks.integer("dataset.split_seed", split_seed, 0, LARGEST_TORCH_SEED)
        self._restored: dict[str, int] | None = None

    @abstractmethod
    def load(self, train: bool) -> Any:
        """Return the training set, validation samples included, or the test set, with `__len__` and `__getitem__`.

        Raises:
            UserError: The data is missing or does not match the config.
        """

    def check(self, samples: Any, train: bool) -> None:
        """Check the training set or the test set, before a run trains. By default, it must not be empty.

        Raises:
            UserError: The data is damaged or does not match the config.
        """
        checks.require(len(samples) > 0, f"the number of {'training' if train else 'test'} samples", 0, "at least 1")

    def check_batches(self, devices: int, accumulated: int) -> None:
        """Check that the training set has as many samples as an optimizer step takes.

        Args:
            devices: Number of devices of all nodes.
            accumulated: Batches per optimizer step.
        """
        samples = len(self._training[1])
        most = samples // devices
        on = f" on each of {devices} devices" if devices > 1 else ""
        expected = f"an integer <= {most}: an epoch has {samples} training samples"
        checks.require(self.batch_size <= most, f"dataset.batch_size{on}", self.batch_size, expected)
        batches = ceil(samples / (self.batch_size * devices))
        expected = f"an integer <= {batches}: an epoch has {batches} batches"
        checks.require(accumulated <= batches, "trainer.accumulate_grad_batches", accumulated, expected)

    def split(self, samples: Any) -> tuple[Tensor, Tensor]:
        """Return the indices of the training and the validation samples, (N,) int64, in ascending order."""
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(self.split_seed))
        return order[self.val_size :].sort().values, order[: self.val_size].sort().values

    def train_view(self, samples: Any, indices: Tensor) -> Dataset:
        """Return a data set of the samples at `indices`, whose `__getitems__` takes (epoch, positions in `indices`)."""
        return TrainView(samples, indices)

    def eval_view(self, samples: Any, indices: Tensor) -> Dataset:
        """Return a data set of the samples at `indices`, by position in `indices`."""
        return EvalView(samples, indices)

    collate: Callable[[Any], Any] = staticmethod(default_collate)
    """Collates the samples of a view into a batch."""

    def preprocessing(self, folder: Path) -> dict[str, Any] | None:
        """Return what turns other data into inputs of the network, for results.json: plain data, with `_target_` for a
        class whose `restored(folder, **description)` returns it. None, the default, if there is no such class.

        Args:
            folder: The run folder, for files that the class reads.
        """
        return None

    def setup(self, stage: str) -> None:
        """Load and check the data of a stage: "fit" also those of the test, which would fail after training."""
        prepare_for_workers(self.num_workers)
        if stage in ("fit", "validate"):
            _ = self._training
        if stage in ("fit", "test"):
            _ = self._testing

    @cached_property
    def _training(self) -> tuple[Any, Tensor, Tensor]:
        """The training set, and the indices of the training and the validation samples."""
        with waiting("training data"):
            samples = self.load(train=True)
        self.check(samples, train=True)
        checks.integer("dataset.val_size", self.val_size, 0, len(samples) - 1)
        return samples, *self.split(samples)

    @property
    def validates(self) -> bool:
        """Whether there are validation samples, after `setup`."""
        return len(self._training[2]) > 0

    @property
    def train_size(self) -> int:
        """Number of training samples, after `setup`."""
        return len(self._training[1])

    @property
    def test_size(self) -> int:
        """Number of test samples, after `setup`."""
        return len(self._testing)

    @cached_property
    def _testing(self) -> Any:
        """The test set."""
        with waiting("test data"):
            samples = self.load(train=False)
        self.check(samples, train=False)
        return samples

    def train_dataloader(self) -> ResumableLoader:
        """Return the loader of shuffled training samples, which starts at the position of the checkpoint, if any."""
        samples, indices, _ = self._training
        trainer = self.trainer
        # Unlike `trainer.current_epoch`, this counts an epoch before its last hooks have run.
        epoch = trainer.fit_loop.epoch_progress.current.processed if trainer else 0  # type: ignore[attr-defined]
        loader = ResumableLoader(
            self.train_view(samples, indices),
            self._batches(),
            epoch=epoch,
            limit=trainer.limit_train_batches if trainer else 1.0,
            persistent_workers=self.num_workers > 0,
            **self._loader_options(),
        )
        if self._restored and self._restored["epoch"] >= epoch:
            loader.load_state_dict(self._restored)
        return loader

    def _batches(self) -> EpochBatches:
        return EpochBatches(self.train_size, self.batch_size, self.seed)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the loader of the validation samples in order, or no loader if there are none."""
        samples, _, indices = self._training
        return self._eval_loader(samples, indices, persistent_workers=self.num_workers > 0) if len(indices) else []

    def test_dataloader(self) -> DataLoader:
        """Return the loader of the test samples in order."""
        samples = self._testing
        return self._eval_loader(samples, torch.arange(len(samples)))

    def _eval_loader(self, samples: Any, indices: Tensor, **options: Any) -> DataLoader:
        return DataLoader(
            self.eval_view(samples, indices),
            batch_size=self.batch_size,
            sampler=EvalShard(len(indices)),
            generator=torch.Generator(),
            worker_init_fn=start_worker,
            **self._loader_options(),
            **options,
        )

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {"num_workers": self.num_workers, "collate_fn": self.collate, "pin_memory": on_gpu}

    def state_dict(self) -> dict[str, int]:
        """Return the position of the training loader (see `ResumableLoader`)."""
        loader = self.trainer.train_dataloader if self.trainer else None
        return loader.state_dict() if isinstance(loader, ResumableLoader) else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        check_batches(state_dict, self._batches())
        self._restored = state_dict
        rank, devices = rank_and_world()
        before = state_dict.get("devices", devices)
        if rank == 0 and before != devices:
            now, then = f"{devices} x {self.batch_size}", f"{before} x {state_dict['global_batch'] // before}"
            print(f"resuming with {now} samples per batch; the checkpoint has {then}")

    def teardown(self, stage: str) -> None:
        """Forget the position of the checkpoint."""
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
    """The samples at `indices`, by (epoch, positions in `indices`). They are the same in every epoch."""

    def __getitems__(self, batch: tuple[int, Tensor]) -> list[Any]:
        _, positions = batch
        return [self[position] for position in positions.tolist()]
