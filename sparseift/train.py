"""python -m sparseift.train: one run, or with -m a sweep of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from .build import Run, build_run, example_of
from .cli import run
from .errors import UserError
from .meta import first_line

DESCRIPTION = "python -m sparseift.train [OVERRIDES]: train a network at the FLOPs of its dense original"


def main() -> None:
    run(train, "train", DESCRIPTION)


def train(config: DictConfig) -> None:
    """Train, test and write the results into Hydra's run folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    if config.resume == "auto" and (folder / "results.json").exists():
        print(f"already finished: {folder / 'results.json'}")
        return
    if HydraConfig.get().mode is RunMode.MULTIRUN and config.trainer.strategy != "auto" and config.trainer.devices != 1:
        raise UserError(
            f"a sweep with trainer.strategy={config.trainer.strategy} in one process would mix up its jobs; "
            "run them one by one, without -m"
        )
    try:
        parts = build_run(config, folder, identity_of(config))
        checkpoint = checkpoint_of(config, folder)
        parts.data.prepare_data()
        parts.data.val_dataloader()  # loads the images, or says what is missing, before anything is trained
    except UserError:
        _remove_if_empty(folder)
        raise
    parts.trainer.fit(parts.module, parts.data, ckpt_path=checkpoint, weights_only=True)
    validation, test = _evaluate(config, parts, folder)
    if parts.trainer.is_global_zero:
        _write_results(config, parts, folder, validation, test)


def identity_of(config: DictConfig) -> dict[str, Any]:
    """What a run is, in words: the names that were chosen and the numbers that make two runs comparable."""
    choices = HydraConfig.get().runtime.choices
    masked = config.sparsifier._target_ is not None
    return {
        "model": config.model.get("name", choices.model),
        "member": choices.member,
        "sparsity": config.sparsity.level if masked or choices.member != "dense" else 0.0,
        "distribution": choices.sparsity if masked else None,
        "sparsifier": choices.sparsifier,
        "dataset": choices.dataset,
        "seed": config.seed,
    }


def checkpoint_of(config: DictConfig, folder: Path) -> Path | None:
    """The checkpoint to go on from, if any."""
    from .callbacks import find_checkpoint

    if config.resume is None:
        return None
    if config.resume != "auto":
        return find_checkpoint(Path(config.resume))
    return find_checkpoint(folder) if any((folder / "checkpoints").glob("*.ckpt")) else None


def _evaluate(config: DictConfig, parts: Run, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the validation set, and of the test set, which is read here and nowhere else."""
    best = folder / "checkpoints" / "best.ckpt"
    weights = best if config.checkpoint.test == "best" and best.exists() else None
    validation = parts.trainer.validate(parts.module, parts.data, ckpt_path=weights, verbose=False, weights_only=True)
    test = parts.trainer.test(parts.module, parts.data, ckpt_path=weights, verbose=False, weights_only=True)
    return _named(validation), _named(test)


def _named(metrics: list[dict[str, float]]) -> dict[str, float]:
    return {name.split("/")[1]: value for name, value in (metrics[0] if metrics else {}).items()}


def _write_results(
    config: DictConfig, parts: Run, folder: Path, validation: dict[str, float], test: dict[str, float]
) -> None:
    from .results import export, layers_summary, plan_summary, versions, weights_sha256, write_json
    from .summary import print_summary

    summary = plan_summary(parts.plan)
    summary["flops"]["train_total"] = parts.accounting.train_flops
    results = {
        **identity_of(config),
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
            images = torch.zeros(2, *example_of(config).shape[1:])  # more than one, as any number is to do
            export(parts.net, images, folder / "model.pt2")
        except Exception as error:  # the run itself is complete
            print(f"model.pt2 was not written: {first_line(error)}")
    write_json(folder / "results.json", results)
    print_summary([results])
    print(f"results in {folder}")


def _remove_if_empty(folder: Path) -> None:
    """Take back the folder that Hydra made for a run that could not start. Folders of a sweep stay: they get
    error.txt."""
    if HydraConfig.get().mode is RunMode.RUN and {item.name for item in folder.iterdir()} <= {".hydra", "train.log"}:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
