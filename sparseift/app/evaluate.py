"""Tests a finished run, on its own data or on other data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from ..common.checks import integer, require
from ..common.console import plain
from ..runs.files import present, read_yaml
from ..runs.metric import Metric
from ..runs.results import versions, write_json
from .compose import composed
from .options import no_option
from .overrides import is_override
from .resume import noted_config

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import nn

    from ..loading import LoadedFile, LoadedRun
    from ..tasks import Task

CHANGED = ("dataset", "trainer", "tokenizer")
"""Groups that an override may change."""

OF_TRAINER = ("_target_", "accelerator", "precision", "deterministic")
"""Options of the Trainer of the run that its test depends on."""

ONE_DEVICE = {"devices": 1, "num_nodes": 1}


def evaluate(run: Path, weights: str | None, overrides: Sequence[str], out: Path | None) -> None:
    """Test the network of a run, print its metrics, and write them.

    Args:
        run: The run folder, or a compact file.
        weights: Which weights (see `sparseift.load`).
        overrides: Options of the data and the Trainer, as for sparseift.train.
        out: JSON file to write; evaluation_DATASET_WEIGHTS.json in the run folder, or a file beside the compact one,
            by default.

    Raises:
        UserError: The run has no network, or the data does not fit it.
    """
    config = noted_config(run) if run.is_dir() else _config_of_file(overrides) if run.is_file() else None
    require(config is not None, "RUN", str(run), "a run folder, which has .hydra/config.yaml, or a file of one")
    require(out is None or out.parent.is_dir(), "--out", str(out), "a file in a folder that exists")
    assert config is not None
    name = change(config, run, overrides)
    from ..loading import LoadedFile, load  # with torch, which takes seconds to import

    loaded = load(run, weights)
    if isinstance(loaded, LoadedFile):
        config.task = _task_of_file(loaded)
    task = loaded.task
    assert task is not None
    data = _data(config, loaded, overrides)
    values = _tested(config, data, loaded.network, task)
    metrics = [metric.as_dict() for metric in task.metrics]
    content = {
        **_source(run, loaded),
        **{"dataset": name, "overrides": list(overrides)},
        **{"metrics": metrics, "test": values, "partial": _partial(config)},
        "versions": versions(),
    }
    out = out or _beside(run, name, content["weights"])
    write_json(out, content)
    print(plain(f"{content['weights']} weights of {getattr(loaded, 'checkpoint', run)} on {name}"))
    for metric in map(Metric.from_dict, metrics):
        value = values[metric.name]
        print(f"  {metric.label:<20}{'not finite' if value is None else metric.text(value)}")
    print(plain(f"metrics in {out}"))


def _config_of_file(overrides: Sequence[str]) -> DictConfig:
    """The data and the Trainer of a test without a run. The command line must choose the data."""
    typed = {text.lstrip("+").partition("=")[0] for text in overrides}
    chosen = not typed.isdisjoint(("dataset", "dataset._target_"))
    require(chosen, "OVERRIDE", " ".join(overrides), "dataset=NAME, because a file of a run has no data")
    return OmegaConf.create(composed([], ("dataset", "trainer")))


def _task_of_file(loaded: LoadedFile) -> dict[str, Any]:
    """The node of the task, with references to the options of the data that the run had taken from there."""
    require(loaded.task is not None, "RUN", str(loaded.file), "a file of a run with a task of sparseift")
    return {**loaded.about["task"], **{name: f"${{dataset.{name}}}" for name in loaded.about["of_data"]}}


def _source(run: Path, loaded: LoadedRun | LoadedFile) -> dict[str, Any]:
    """What the results say about the network."""
    from ..loading import LoadedFile

    if isinstance(loaded, LoadedFile):
        return {"file": str(run), **{key: loaded.about[key] for key in ("checkpoint", "weights", "masks_sha256")}}
    masks = loaded.masks.sha256() if loaded.masks else None
    of_run = {"checkpoint": loaded.checkpoint.name, "weights": loaded.weights, "masks_sha256": masks}
    return {"run": str(run), **of_run}


def _beside(run: Path, data: str, weights: str) -> Path:
    """The file of the results, by default."""
    return run / f"evaluation_{data}_{weights}.json" if run.is_dir() else run.with_name(f"{run.stem}_{data}.json")


def change(config: DictConfig, run: Path, overrides: Sequence[str]) -> str:
    """Apply overrides of the data and the Trainer to the config of a run, and return the name of the data set.

    Raises:
        UserError: An override is not valid, or of something else.
    """
    for text in overrides:
        require(is_override(text), "OVERRIDE", text, "NAME=VALUE, such as dataset.root=photos")
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        key = override.key_or_group
        fits = key.partition(".")[0] in CHANGED and not override.is_sweep_override()
        require(fits, "OVERRIDE", override.input_line, f"one value of {', '.join(CHANGED)}; the network stays as it is")
    chosen = {override.key_or_group for override in parsed if override.key_or_group in CHANGED}
    with open_dict(config):
        trainer = config.trainer
        config.trainer = {**{key: trainer[key] for key in OF_TRAINER if key in trainer}, **ONE_DEVICE}
        if chosen:
            inside = [text for text, one in zip(overrides, parsed, strict=True) if _group(one) in chosen]
            nodes = {"dataset" if name == "tokenizer" else name for name in chosen}
            config.update(composed(inside, nodes, _folders(run)))
            config.trainer.update(ONE_DEVICE)
        for override in parsed:
            if _group(override) not in chosen:
                _set(config, override)
    for key in ONE_DEVICE:
        integer(f"trainer.{key}", config.trainer[key], 1, 1)
    return _name(run, parsed)


def _group(override: Any) -> str:
    return override.key_or_group.partition(".")[0]


def _set(config: DictConfig, override: Any) -> None:
    key = override.key_or_group
    there = OmegaConf.select(config, key, default=override) is not override
    if override.is_delete() or not (there or override.is_add() or override.is_force_add()):
        node = OmegaConf.select(config, key.rpartition(".")[0])
        raise no_option(key, [f"{key.rpartition('.')[0]}.{name}" for name in node or {}])
    OmegaConf.update(config, key, override.value(), force_add=True)


def _folders(run: Path) -> list[str]:
    """The folder of --config-dir of the run, if any."""
    path = run / ".hydra/hydra.yaml"
    sources = read_yaml(path)["hydra"]["runtime"]["config_sources"] if present(path) else []
    return [source["path"] for source in sources if source["provider"] == "command-line"]


def _name(run: Path, parsed: Iterable[Any]) -> str:
    """The name of the data set: the choice, or the class of a `_target_`, as typed or as the run has it."""
    typed = {override.key_or_group: override.value() for override in parsed}
    named = typed.get("dataset._target_", typed.get("dataset"))
    if named is None:
        path = run / ".hydra/hydra.yaml"
        named = read_yaml(path)["hydra"]["runtime"]["choices"]["dataset"] if present(path) else "test"
    return str(named).rpartition(".")[2]


def _data(config: DictConfig, loaded: LoadedRun | LoadedFile, overrides: Sequence[str]) -> pl.LightningDataModule:
    """The data, prepared as in the run unless an override says otherwise."""
    from ..training.callbacks import quiet
    from .build import make_data
    from .targets import check_target

    quiet()
    if loaded.preprocessing is not None and any(text.lstrip("+~").startswith(CHANGED) for text in overrides):
        typed = {text.lstrip("+").partition("=")[0] for text in overrides}
        with open_dict(config):
            for key, value in loaded.preprocessing.options().items():
                if key in config.dataset and f"dataset.{key}" not in typed and key not in typed:
                    config.dataset[key] = value
    described: Any = OmegaConf.to_container(config.task)
    for name in map(str, config.task):
        if described[name] == f"${{dataset.{name}}}" and name not in config.dataset:
            expected = f"a data set with the option {name}, which the task {type(loaded.task).__name__} needs"
            require(False, "dataset._target_", config.dataset._target_, expected)
        if name in config.dataset and name != "_target_":
            found, known = config.dataset[name], getattr(loaded.task, name, config.dataset[name])
            require(found == known, f"dataset.{name}", found, f"{known}, as in the run")
    check_target("dataset", config.dataset)
    return make_data(config)


def _tested(config: DictConfig, data: pl.LightningDataModule, net: nn.Module, task: Task) -> dict[str, float | None]:
    import torch

    from ..tasks.checked import Checked
    from ..training.module import TrainingModule
    from .build import make_trainer
    from .reasons import with_reason
    from .run import by_name

    module = TrainingModule(net, Checked(task), torch.optim.SGD, None, "epoch", True)
    with with_reason(None, lambda: "choose a smaller dataset.batch_size"):
        trainer = make_trainer(config, Path(os.devnull), [], [])
        return by_name(trainer.test(module, data, verbose=False))


def _partial(config: DictConfig) -> str | None:
    """Why this is not the whole test set; None if it is."""
    limit: Mapping[str, Any] = {"trainer.limit_test_batches": config.trainer.get("limit_test_batches")}
    return next((f"{key}={value}" for key, value in limit.items() if value is not None), None)
