"""A resumed Lightning Trainer sees the batches that the uninterrupted one would have seen."""

import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

Seen = list[tuple[int, int, list[int]]]
EPOCHS, BATCHES = 2, 5
STEPS = [(epoch, batch) for epoch in range(EPOCHS) for batch in range(1, BATCHES + 1)]


class Witness(pl.LightningModule):
    """A linear network that writes down (epoch, batch index, images) of every training step."""

    def __init__(self, plans_ahead: bool = False) -> None:
        super().__init__()
        self.net = nn.Linear(9, 3)
        self.plans_ahead = plans_ahead
        self.seen: Seen = []

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, targets = batch
        return nn.functional.cross_entropy(self.net(images.flatten(1)), targets)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images = batch[0][:, 0, 1, 1].mul(255).round().int().tolist()
        self.seen.append((self.trainer.current_epoch, batch_idx, images))
        return self._loss(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.plans_ahead:
            assert self.trainer.estimated_stepping_batches  # makes the loader before progress is restored
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Save(pl.Callback):
    """Checkpoints named after hook and step: b after a batch, v after validation, e after an epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _save(self, trainer: pl.Trainer, hook: str) -> None:
        trainer.save_checkpoint(self.folder / f"{hook}{trainer.global_step}.ckpt")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._save(trainer, "b")

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.sanity_checking:
            self._save(trainer, "v")

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._save(trainer, "e")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def fit(numbered) -> Callable[..., tuple[Seen, dict[str, Tensor]]]:
    def run(
        save_to: Path | None = None,
        resume: Path | None = None,
        plans_ahead: bool = False,
        workers: int = 0,
        **trainer: Any,
    ) -> tuple[Seen, dict[str, Tensor]]:
        torch.manual_seed(0)
        net = Witness(plans_ahead)
        pl.Trainer(
            **{"max_epochs": EPOCHS} | trainer,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            use_distributed_sampler=False,
            callbacks=[Save(save_to)] if save_to else [],
        ).fit(net, numbered(num_workers=workers), ckpt_path=resume, weights_only=True if resume else None)
        return net.seen, net.state_dict()

    return run


def check_resumes(fit, folder: Path, checkpoints: int, **run: Any) -> Seen:
    """Every checkpoint of a run resumes to the same batches and the same weights."""
    whole, weights = fit(save_to=folder, **run)
    files = sorted(folder.glob("*.ckpt"))
    assert len(files) == checkpoints
    for file in files:
        rest, resumed = fit(resume=file, **run)
        assert rest == whole[int(file.stem[1:]) :], file.stem
        assert all(torch.equal(resumed[name], weights[name]) for name in weights), file.stem
    return whole


@pytest.mark.parametrize("plans_ahead", [False, True])
def test_resumes_from_a_checkpoint_of_every_step(fit, tmp_path: Path, plans_ahead: bool) -> None:
    whole = check_resumes(fit, tmp_path, EPOCHS * (BATCHES + 2), plans_ahead=plans_ahead)
    assert [step[:2] for step in whole] == [(epoch, batch - 1) for epoch, batch in STEPS]
    epochs = [sorted(chain(*(images for e, _, images in whole if e == epoch))) for epoch in range(EPOCHS)]
    assert epochs[0] == epochs[1]


def test_resumes_with_workers(fit, tmp_path: Path) -> None:
    whole, _ = fit(save_to=tmp_path)
    for step in (3, 5):
        rest, _ = fit(resume=tmp_path / f"b{step}.ckpt", workers=1)
        assert rest == whole[step:]


@pytest.mark.parametrize("limit", [3, 0.5])
def test_resumes_where_epochs_are_cut_short(fit, tmp_path: Path, limit: int | float) -> None:
    batches = limit if isinstance(limit, int) else int(BATCHES * limit)
    check_resumes(fit, tmp_path, EPOCHS * (batches + 2), limit_train_batches=limit)


def test_resumes_a_run_limited_by_steps(fit, tmp_path: Path) -> None:
    check_resumes(fit, tmp_path, 12, max_epochs=-1, max_steps=9)


def test_resumes_where_loaders_are_made_anew_every_epoch(fit, tmp_path: Path) -> None:
    whole = check_resumes(fit, tmp_path, 21, max_epochs=3, reload_dataloaders_every_n_epochs=1)
    assert whole == fit(max_epochs=3)[0]


def test_resumes_a_resumed_run(fit, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    whole, _ = fit(save_to=folders[0], max_epochs=3)
    fit(save_to=folders[1], resume=folders[0] / "e5.ckpt", max_epochs=3)
    fit(save_to=folders[2], resume=folders[1] / "b7.ckpt", max_epochs=3)
    rest, _ = fit(resume=folders[2] / "b12.ckpt", max_epochs=3)
    assert rest == whole[12:]


def test_a_second_fit_goes_on_with_the_epochs(numbered, tmp_path: Path) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)
    net, data = Witness(), numbered()
    trainer.fit(net, data)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(net, data)
    assert [step[:2] for step in net.seen] == [(epoch, batch - 1) for epoch, batch in STEPS]
    assert net.seen[0][2] != net.seen[BATCHES][2]
