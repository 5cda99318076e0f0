"""One run in this process: it is trained, tested, and written into its folder."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ..common.files import replacing
from ..data import DataModule
from ..errors import LEAVE, Stopped, UserError, first_line
from ..runs.command import run_in
from ..runs.results import layers_summary, plan_summary, versions, write_json
from ..runs.summary import print_summary
from ..training.export import export, weights_sha256
from .build import Run, build_run
from .folder import RunFolder, in_sweep
from .resume import checkpoint_of, identity_of, settings_of


def train_here(config: DictConfig, folder: RunFolder) -> None:
    """Errors of the user come out as UserError, a signal that ends the run as Stopped."""
    checkpoint = checkpoint_of(config, folder.path)
    parts = build_run(config, folder.path, settings_of(config), _how_to_go_on(folder.path), folder.tell)
    if isinstance(parts.data, DataModule):  # missing data ends the run before it writes into its folder
        parts.data.setup("fit")
    folder.begin(resumed=checkpoint is not None)
    if checkpoint and parts.trainer.is_global_zero:
        _take_along(checkpoint, folder.path / "checkpoints")
    with _ended_by_signals(parts):
        _fit(parts, checkpoint)
        validation, test = _evaluate(config, parts, folder.path)
    if parts.trainer.is_global_zero:
        _write_results(config, parts, folder.path, validation, test)


def _how_to_go_on(folder: Path) -> str:
    if in_sweep():
        return "the same sweep with sweep.resume=true goes on"
    return f"the same command with resume=auto {shlex.quote(run_in(os.path.relpath(folder)))} goes on"


def _take_along(checkpoint: Path, folder: Path) -> None:
    """Into the folder where a run goes on: what it goes on from, and the best so far, which it may never be again."""
    for source, name in ((checkpoint, "last.ckpt"), (checkpoint.with_name("best.ckpt"), "best.ckpt")):
        if source.exists() and not any((folder / taken).exists() for taken in {name, source.name}):
            folder.mkdir(exist_ok=True)
            with replacing(folder / name) as partial:  # other ranks may look for it already
                shutil.copy(source, partial)


def _fit(parts: Run, checkpoint: Path | None) -> None:
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
            "a batch of one image is too small for the batch norms, the last one of an epoch too: "
            "choose another dataset.batch_size or dataset.val_size"
        ) from error


@contextmanager
def _ended_by_signals(parts: Run) -> Iterator[None]:
    try:
        yield
    except Stopped:
        for number in (*LEAVE, signal.SIGINT):  # parents and SLURM may send the same one again
            signal.signal(number, signal.SIG_IGN)
        raise
    except SystemExit:  # what Lightning makes of Ctrl-C
        if parts.trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def _evaluate(config: DictConfig, parts: Run, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the validation set, and of the test set, which is read here and nowhere else."""
    best = folder / "checkpoints" / "best.ckpt"
    if config.checkpoint.test == "best" and best.exists():
        parts.load(best)
    elif config.checkpoint.test == "best":
        warnings.warn(f"there is no {best}, so the results are of the last weights", stacklevel=2)
    validation = parts.trainer.validate(parts.module, parts.data, verbose=False)
    test = parts.trainer.test(parts.module, parts.data, verbose=False)
    return _named(validation), _named(test)


def _named(metrics: list[dict[str, float]]) -> dict[str, float]:
    return {name.split("/")[1]: value for name, value in (metrics[0] if metrics else {}).items()}


def _write_results(
    config: DictConfig, parts: Run, folder: Path, validation: dict[str, float], test: dict[str, float]
) -> None:
    summary = plan_summary(parts.plan)
    summary["flops"]["train_total"] = parts.accounting.train_flops
    summary["flops"]["train_dense_gradients"] = parts.accounting.dense_gradient_flops  # of the total
    results = {
        **identity_of(config),
        "task": HydraConfig.get().runtime.choices.task,
        "metrics": [metric.as_dict() for metric in parts.module.task.metrics],
        "test": test,
        "val": validation,
        **summary,
        "epochs": parts.trainer.current_epoch,
        "steps": parts.trainer.global_step,
        "seconds": round(parts.accounting.seconds, 2),
        "masks_sha256": parts.masks.sha256() if parts.masks else None,
        "weights_sha256": weights_sha256(parts.net),
        "versions": versions(),
        "layers": layers_summary(parts.plan),
    }
    if config.export:
        try:
            export(parts.net, parts.module.task.example(), folder / "model.pt2")
        except Exception as error:  # the run itself is complete
            print(f"model.pt2 was not written: {first_line(error)}")
    write_json(folder / "results.json", results)
    print_summary([results])
    print(f"results in {folder}")
