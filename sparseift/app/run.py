"""Trains, tests and writes the results of one run in this process."""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..common.files import replacing
from ..common.messages import one_line
from ..common.signals import STOP, ignore
from ..data import DataModule
from ..errors import Stopped, UserError
from ..runs.command import run_in
from ..runs.results import versions, write_results
from ..runs.summary import print_summary
from ..training.checkpoints import BEST, LAST
from ..training.export import export_program, weights_sha256
from .build import TrainingParts, build_run
from .folder import RunFolder
from .resume import checkpoint_of
from .settings import Job, Settings


def train_here(config: DictConfig, settings: Settings, folder: RunFolder) -> None:
    """Train, test and write the results.

    Raises:
        Stopped: A signal has stopped the run.
    """
    checkpoint = checkpoint_of(settings, folder.path)
    parts = build_run(config, folder.path, dict(settings.lasting), _how_to_resume(folder.job), folder.tell)
    if isinstance(parts.data, DataModule):  # fails before the run writes into its folder
        parts.data.setup("fit")
    folder.begin(resumed=checkpoint is not None)
    if parts.init["weights"] == "kept" and not checkpoint and parts.trainer.is_global_zero:
        print(f"starts from the weights of {parts.init['from'] or 'the model'}: the same function before it is masked")
    if checkpoint and parts.trainer.is_global_zero:
        _copy_checkpoints(checkpoint, folder.path / "checkpoints")
    with _stopped_by_signals(parts):
        _fit(parts, checkpoint)
        validation, test = _evaluate(parts, settings.test_with, folder.path)
    if parts.trainer.is_global_zero:
        _write_results(settings, parts, folder.path, validation, test)


def _how_to_resume(job: Job) -> str:
    if job.of_sweep:
        return "to resume, repeat the sweep with sweep.resume=true"
    return f"to resume, repeat the command with resume=auto {shlex.quote(run_in(os.path.relpath(job.folder)))}"


def _copy_checkpoints(checkpoint: Path, folder: Path) -> None:
    """Copy the checkpoint to resume from, and the best checkpoint beside it, unless the folder has them."""
    for source, name in ((checkpoint, LAST), (checkpoint.with_name(BEST), BEST)):
        if source.exists() and not any((folder / taken).exists() for taken in {name, source.name}):
            folder.mkdir(exist_ok=True)
            with replacing(folder / name) as partial:  # because other ranks may read it
                shutil.copy(source, partial)


def _fit(parts: TrainingParts, checkpoint: Path | None) -> None:
    try:
        parts.trainer.fit(parts.module, parts.data, ckpt_path=checkpoint, weights_only=True)
    except RuntimeError as error:
        explained = parts.ranks.explained(error)
        if explained is error:
            raise
        raise explained from error
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise UserError(
            "batch norm needs more than one sample in every batch, also in the last one of an epoch: "
            "choose another dataset.batch_size or dataset.val_size"
        ) from error


@contextmanager
def _stopped_by_signals(parts: TrainingParts) -> Iterator[None]:
    try:
        yield
    except Stopped:
        ignore(*STOP)
        raise
    except SystemExit:  # Lightning raises it after Ctrl-C
        if parts.trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def _evaluate(parts: TrainingParts, test_with: str, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of the validation set and of the test set."""
    best = folder / "checkpoints" / BEST
    if test_with == "best" and best.exists():
        parts.load(best)
    elif test_with == "best":
        warnings.warn(f"there is no {best}; the last weights are tested", stacklevel=2)
    validation = parts.trainer.validate(parts.module, parts.data, verbose=False)
    test = parts.trainer.test(parts.module, parts.data, verbose=False)
    return _by_name(validation), _by_name(test)


def _by_name(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name.split("/")[1]: value for name, value in (metrics[0] if metrics else {}).items()}


def _write_results(
    settings: Settings, parts: TrainingParts, folder: Path, validation: dict[str, float], test: dict[str, float]
) -> None:
    summary = parts.plan.summary()
    summary["flops"]["train_total"] = parts.accounting.train_flops
    summary["flops"]["train_dense_gradients"] = parts.accounting.dense_gradient_flops  # included in train_total
    results: dict[str, Any] = {
        **settings.identity,
        "metrics": [metric.as_dict() for metric in parts.task.metrics],
        "init": parts.init,
        "test": test,
        "val": validation,
        **summary,
        "epochs": parts.trainer.current_epoch,
        "steps": parts.trainer.global_step,
        "seconds": round(parts.accounting.seconds, 2),
        "masks_sha256": parts.masks.sha256() if parts.masks else None,
        "weights_sha256": weights_sha256(parts.net),
        "versions": versions(),
        "layers": parts.plan.layers_summary(),
    }
    if settings.export:
        try:
            export_program(parts.net, parts.task.example(), folder / "model.pt2")
        except Exception as error:  # the run itself is complete
            print(f"model.pt2 was not written: {one_line(error, whole=False)}")
    write_results(folder / "results.json", results)
    print_summary([results])
    print(f"results in {folder}")
