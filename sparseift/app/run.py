"""Trains, tests and writes the results of one run in this process."""

from __future__ import annotations

import os
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from ..common.files import replacing
from ..common.messages import one_line
from ..common.signals import STOP, ignore
from ..data import DataModule
from ..errors import Stopped, UserError
from ..runs.command import run_in
from ..runs.results import versions, write_results
from ..runs.summary import print_summary
from ..training.callbacks import SameStart, check_length, planned_steps
from ..training.checkpoints import BEST, LAST, problem
from ..training.export import export_program, weights_sha256
from .build import TrainingParts, build_run
from .folder import RunFolder
from .limits import partial_run
from .reasons import with_reason
from .resume import checkpoint_of
from .settings import Job, Settings

Values = dict[str, float | None]
"""Metrics by name; None if not finite."""


def train_here(config: DictConfig, settings: Settings, folder: RunFolder) -> None:
    """Train, test and write the results.

    Raises:
        Stopped: A signal has stopped the run.
    """
    checkpoint = checkpoint_of(config, settings, folder.path)
    parts = build_run(config, folder.path, dict(settings.lasting), _how_to_resume(folder.job), folder.tell)
    check_length(parts.trainer, parts.data)
    parts.trainer.callbacks.append(SameStart(checkpoint))  # type: ignore[attr-defined]  # its connector sets it
    folder.begin(resumed=checkpoint is not None)
    if parts.init["weights"] == "kept" and not checkpoint and parts.trainer.is_global_zero:
        print(f"starts from the weights of {parts.init['from'] or 'the model'}: the same function before it is masked")
    if checkpoint and parts.trainer.is_global_zero:
        _copy_checkpoints(checkpoint, folder.path / "checkpoints")
    with _stopped_by_signals(parts), parts.ranks.watching(parts.trainer), with_reason(checkpoint, parts.out_of_memory):
        _fit(parts, checkpoint)
        validation, test = _evaluate(parts, settings.test_with, folder.path)
    parts.check_masks()
    net, masks_sha256 = parts.whole()
    if parts.trainer.is_global_zero:
        _write_results(settings, parts, net, masks_sha256, folder.path, validation, test)


def _how_to_resume(job: Job) -> str:
    if job.of_sweep:
        return "to resume, repeat the sweep with sweep.resume=true"
    return f"to resume, repeat the command with resume=auto {shlex.quote(run_in(os.path.relpath(job.folder)))}"


def _copy_checkpoints(checkpoint: Path, folder: Path) -> None:
    """Copy the checkpoint to resume from, and the best checkpoint beside it, unless the folder has them."""
    for source, name in ((checkpoint, LAST), (checkpoint.with_name(BEST), BEST)):
        if source.exists() and not any((folder / taken).exists() for taken in {name, source.name}):
            if reason := problem(source):
                warnings.warn(f"{reason}; it is not copied", stacklevel=2)
                continue
            folder.mkdir(exist_ok=True)
            with replacing(folder / name) as partial:  # because other ranks may read it
                shutil.copy(source, partial)


def _fit(parts: TrainingParts, checkpoint: Path | None) -> None:
    parts.trainer.fit(parts.module, parts.data, ckpt_path=checkpoint, weights_only=True)
    # Lightning does not count the last epoch of a run that has stopped early and resumes with nothing left to train.
    progress = parts.trainer.fit_loop.epoch_progress.current
    progress.completed = progress.processed  # type: ignore[attr-defined]  # of epochs


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


def _evaluate(parts: TrainingParts, test_with: str, folder: Path) -> tuple[Values, Values]:
    """Return the metrics of the validation set and of the test set."""
    best = folder / "checkpoints" / BEST
    if test_with == "best" and best.exists():
        if reason := problem(best):
            raise UserError(f"{reason}; to test the last weights instead, resume with checkpoint.test=last")
        parts.load(best)
    elif test_with == "best":
        warnings.warn(f"there is no {best}; the last weights are tested", stacklevel=2)
    validation = parts.trainer.validate(parts.module, parts.data, verbose=False)
    test = parts.trainer.test(parts.module, parts.data, verbose=False)
    return by_name(validation), by_name(test)


def by_name(metrics: Sequence[Mapping[str, float]]) -> Values:
    """The metrics by name. JSON has no NaN and no infinity: None."""
    values = metrics[0] if metrics else {}
    return {name.split("/")[1]: value if isfinite(value) else None for name, value in values.items()}


def _write_results(
    settings: Settings,
    parts: TrainingParts,
    net: nn.Module,
    masks_sha256: str | None,
    folder: Path,
    validation: Values,
    test: Values,
) -> None:
    summary = parts.plan.summary()
    summary["flops"]["train_total"] = parts.accounting.train_flops
    summary["flops"]["train_dense_gradients"] = parts.accounting.dense_gradient_flops  # included in train_total
    steps, planned = parts.trainer.global_step, planned_steps(parts.trainer, settings.epochs, settings.most_steps)
    short = partial_run(settings.limits, ended_early=planned is not None and steps < planned)
    mask_callback = parts.mask_callback
    results: dict[str, Any] = {
        **settings.identity,
        "metrics": [metric.as_dict() for metric in parts.task.metrics],
        "init": parts.init,
        "test": test,
        "val": validation,
        **summary,
        "partial": short,
        "epochs": parts.trainer.current_epoch,
        "steps": steps,
        "planned_steps": planned,
        "seconds": round(parts.accounting.seconds, 2),
        "mask_updates": mask_callback.updates if mask_callback else None,
        "masks_sha256": masks_sha256,
        "weights_sha256": weights_sha256(net),
        "data_sha256": getattr(parts.data, "sha256", None),
        "preprocessing": parts.data.preprocessing(folder) if isinstance(parts.data, DataModule) else None,
        "versions": versions(),
        "layers": parts.plan.layers_summary(),
    }
    if settings.export:
        try:
            export_program(net, parts.task.example(), folder / "model.pt2")
        except Exception as error:  # the run itself is complete
            print(f"model.pt2 was not written: {one_line(error, whole=False)}")
    if lost := [metric.name for metric in parts.task.metrics if test.get(metric.name, 0.0) is None]:
        raise UserError(
            f"test/{lost[0]} is not finite, so there is no results.json; the trained weights are in "
            f"{folder / 'checkpoints' / LAST}"
        )
    write_results(folder / "results.json", results)
    print_summary([results])
    if short:
        print(f"partial run: {short}")
    if mask_callback and not mask_callback.as_sparse_as_planned:
        ratio = f"{summary['flops']['ratio']:.4f} of the budget"
        print(f"training ended in step {steps} of {planned}, before the masks were as sparse as planned: {ratio}")
    print(f"results in {folder}")
