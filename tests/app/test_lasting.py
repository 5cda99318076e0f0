"""What may change when a run resumes: a short list. Everything else is compared."""

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)
from sparseift import UserError
from sparseift.app.lasting import DEVICES, EPOCHS, MAY_CHANGE, lasting_of, require_same
from sparseift.app.overrides import config_folder
from sparseift.runs.read import flat
from sparseift.runs.settings import within

PATH = Path("last.ckpt")
IDENTITY = {"member": "sparse_wide", "seed": 0}
OLD = ("model", "member", "sparsity", "pattern", "sparsifier", "backend", "task", "callbacks")


@cache
def base() -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", ["dataset=digits", "recipe=cifar", "callbacks=[ema,spectral]", "recipe.epochs=10"])


def with_(**changes: object) -> DictConfig:
    """The config with changes; the keys have two underscores for each dot."""
    config = base().copy()
    with open_dict(config):
        for key, value in changes.items():
            OmegaConf.update(config, key.replace("__", "."), value)
    return config


def saved_by(config: DictConfig) -> dict:
    return {**IDENTITY, **lasting_of(config)}


def saved_before(config: DictConfig) -> dict:
    """What checkpoints held when only these groups were compared."""
    groups = {group: OmegaConf.to_container(config[group], resolve=True) for group in OLD}
    settings = flat({**groups, "recipe": OmegaConf.to_container(config.recipe)})
    return {**IDENTITY, **{key: value for key, value in settings.items() if key != EPOCHS}}


def refusal(now: DictConfig, saved: dict, noted: DictConfig | None = None) -> str | None:
    try:
        require_same(saved, noted, now, IDENTITY, PATH)
    except UserError as error:
        return str(error)
    return None


def test_every_setting_that_is_not_on_the_list_is_compared() -> None:
    saved = saved_by(base())
    for key, value in flat(OmegaConf.to_container(base(), resolve=True)).items():
        if key in (EPOCHS, *DEVICES) or "_target_" in key:
            continue
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else "other"
        told = refusal(with_(**{key.replace(".", "__"): other}), saved)
        assert (told is None) == within(key, MAY_CHANGE), key


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dataset__split_seed": 7}, "dataset.split_seed=0; this run has dataset.split_seed=7"),
        ({"dataset__std": [0.5]}, "dataset.std=[0.3759]; this run has dataset.std=[0.5]"),
        ({"dataset__batch_size": 128}, "dataset.batch_size=64; this run has dataset.batch_size=128"),
        ({"trainer__accumulate_grad_batches": 4}, "trainer.accumulate_grad_batches=1; this run has"),
        ({"trainer__precision": "bf16-mixed"}, "trainer.precision=32-true; this run has trainer.precision=bf16-mixed"),
        ({"trainer__gradient_clip_val": 1.0}, "trainer.gradient_clip_val=None; this run has"),
        ({"trainer__limit_train_batches": 2}, "trainer.limit_train_batches=None; this run has"),
        ({"recipe__epochs": 9}, "recipe.epochs=10; this run has recipe.epochs=9"),
        ({"trainer__devices": 2}, "64 samples per batch over all devices; this run has 128"),
        ({"callbacks__own": {"_target_": "own.Callback"}}, "callbacks.own._target_=None; this run has"),
        ({"new": 1}, "new=None; this run has new=1"),
    ],
)
def test_refused_in_one_line(changes: dict, told: str) -> None:
    found = refusal(with_(**changes), saved_by(base()))
    assert found is not None and f"resume: last.ckpt has {told}" in found and "\n" not in found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe__epochs": 20},  # and with it the milestones
        {"trainer__devices": 2, "dataset__batch_size": 32, "trainer__strategy": "ddp"},
        {"trainer__devices": [0, 1], "trainer__num_nodes": 2, "dataset__batch_size": 16},
        {"trainer__devices": "auto", "dataset__batch_size": 16},  # compared when the devices are known
        {"dataset__num_workers": 2, "logger__more": {"_target_": "own.Logger"}, "resume": "auto", "export": False},
        {"checkpoint__every_n_steps": 5, "callbacks__spectral__every_n_steps": 7, "trainer__log_every_n_steps": 1},
    ],
)
def test_accepted(changes: dict) -> None:
    assert refusal(with_(**changes), saved_by(base())) is None


def test_milestones_of_more_epochs_and_other_milestones() -> None:
    """60 % of 10 epochs is 6, of 20 epochs 12; neither is a change, but 7 of 10 is."""
    key = "recipe.scheduler.milestones"
    found = refusal(with_(recipe__epochs=20, recipe__scheduler__milestones=[3, 7, 8]), saved_by(base()))
    assert found == f"resume: last.ckpt has {key}=[3, 6, 8]; this run has {key}=[3, 7, 8]"


def test_a_checkpoint_of_an_earlier_version() -> None:
    """What it does not record is in the config of its folder; without one, it is not compared."""
    saved = saved_before(base())
    assert refusal(with_(recipe__epochs=20), saved) is None
    assert refusal(with_(recipe__epochs=20), saved, base()) is None
    assert "recipe.optimizer.lr=0.1;" in (refusal(with_(recipe__optimizer__lr=0.2), saved) or "")
    assert "callbacks.ema.decay=0.9999;" in (refusal(with_(callbacks__ema__decay=0.9), saved) or "")
    for key in ("dataset__split_seed", "trainer__accumulate_grad_batches"):
        assert refusal(with_(**{key: 7}), saved) is None
        assert f"{key.replace('__', '.')}=" in (refusal(with_(**{key: 7}), saved, base()) or "")
    assert "recipe.epochs=10; this run has recipe.epochs=9" in (refusal(with_(recipe__epochs=9), saved, base()) or "")


def test_results_hold_the_identity_alone() -> None:
    assert refusal(with_(dataset__split_seed=7), IDENTITY) is None
    assert "dataset.split_seed=0;" in (refusal(with_(dataset__split_seed=7), IDENTITY, base()) or "")
    assert "seed=1; this run has seed=0" in (refusal(base(), IDENTITY | {"seed": 1}, base()) or "")
