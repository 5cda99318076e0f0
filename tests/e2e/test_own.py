"""Own data, own networks and changed targets on the command line, as a user types them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sparseift

from .programs import checkpoint, environment, quick, results

OWN = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


def samples(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 3
    return TensorDataset(torch.randn(count, 1, 8, 8, generator=generator) + targets.view(-1, 1, 1, 1), targets)


def net(width=8):
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )


class Bare(torch.utils.data.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return "text", 0
"""
SHORT = ("trainer=cpu", "recipe.epochs=1", "export=false", "sparsifier=static", "hydra.run.dir=run")
SETS = ("dataset.train._target_=own.samples", "dataset.test._target_=own.samples", "+dataset.test.seed=1")
SIZES = ("dataset.num_classes=3", "dataset.channels=1", "dataset.image_size=8")


@pytest.fixture
def own(tmp_path) -> None:
    (tmp_path / "own.py").write_text(OWN)


@pytest.fixture
def folder(tmp_path):
    """Image files of three sizes in two classes, with a validation folder."""
    generator = np.random.default_rng(0)
    for part, count in ("train", 6), ("val", 2), ("test", 3):
        for name in ("cat", "dog"):
            path = tmp_path / "photos" / part / name
            path.mkdir(parents=True)
            for index in range(count):
                shape = (20 + index, 30 - index, 3)
                Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path / f"{index}.png")
    return tmp_path / "photos"


FOLDER = ("dataset=image_folder", "dataset.root=photos", "dataset.image_size=16", "dataset.num_workers=0")
SMALL = ("model=resnet18_cifar", "model.base_width=4", "dataset.batch_size=4")


def test_a_folder_of_images(program, folder, tmp_path) -> None:
    outcome = program("sparseift.train", [*FOLDER, *SMALL, *SHORT], tmp_path)
    assert outcome.code == 0, outcome
    assert results(tmp_path / "run")["steps"] == 3  # 12 training images; those of val are no part of them
    loaded = sparseift.load(tmp_path / "run")
    assert loaded.preprocessing.classes == ("cat", "dog")
    assert (loaded.preprocessing.resize, loaded.preprocessing.size) == (16 * 256 // 224, 16)
    outcome = program("sparseift.predict", ["run", "photos/test/cat/0.png", "--format", "json"], tmp_path)
    assert {row["class"] for row in json.loads(outcome.out)} == {"cat", "dog"}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["dataset.root=nowhere"], "nowhere/train: dataset.root must hold train and test, each with one folder per"),
        (["dataset.root=photos/train"], "photos/train/train: dataset.root must hold train and test"),
        (["dataset.num_classes=3"], "dataset.num_classes is 3; expected 2, as in the data"),
        (
            ["dataset.channels=2", "dataset.mean=[0.5]", "dataset.std=[0.5]"],
            "dataset.channels is 2; expected 1 for grey",
        ),
        (["dataset.crop_scale=0"], "dataset.crop_scale is 0; expected a number in (0, 1]"),
    ],
    ids=str,
)
def test_what_is_missing_in_a_folder(program, folder, tmp_path, overrides: list[str], told: str) -> None:
    changed = {override.partition("=")[0] for override in overrides}
    kept = [override for override in (*FOLDER, *SMALL, *SHORT) if override.partition("=")[0] not in changed]
    assert told in program("sparseift.train", [*kept, *overrides], tmp_path).mistake()


def test_python_data_and_network(program, own, tmp_path) -> None:
    """The options of the default network are gone, also from the recorded config."""
    arguments = ["dataset=python", *SETS, *SIZES, *SHORT, "dataset.val_size=10", "model._target_=own.net"]
    outcome = program("sparseift.train", arguments, tmp_path)
    assert outcome.code == 0, outcome
    told = "model: dropped num_classes, in_channels, base_width, zero_init_residual, which own.net does not take"
    assert outcome.err.count(f"sparseift: {told}\n") == 1
    run = tmp_path / "run"
    assert results(run)["steps"] == 2 and results(run)["model"] == "own.net"  # 50 samples in batches of 32
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["model"] == {"_target_": "own.net"}
    assert [key for key in checkpoint(run)["settings"] if key.startswith("model.")] == ["model._target_"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["dataset.test._target_=own.samples"], "dataset.train._target_ is None; expected the dotted name of a class"),
        ([*SETS[:2], "dataset.val=3"], "dataset.val is 'int'; expected a map-style data set"),
        ([*SETS[:2], "dataset.image_size=9"], "(1, 8, 8); expected (1, 9, 9), which is (dataset.channels"),
        (["dataset.train._target_=own.Bare", SETS[1]], "is of type str; expected a tensor"),
    ],
    ids=str,
)
def test_what_is_missing_in_python_data(program, own, tmp_path, overrides: list[str], told: str) -> None:
    arguments = ["dataset=python", *SIZES, "model.base_width=4", *SHORT, *overrides]
    given = {override.partition("=")[0]: override for override in arguments}
    assert told in program("sparseift.train", given.values(), tmp_path).mistake()


def test_another_optimizer(program, tmp_path) -> None:
    adamw = "recipe.optimizer._target_=torch.optim.AdamW"
    outcome = program("sparseift.train", quick(adamw, "hydra.run.dir=run"), tmp_path)
    assert outcome.code == 0, outcome
    assert "recipe.optimizer: dropped momentum, nesterov, which torch.optim.AdamW does not take\n" in outcome.err
    optimizer = yaml.safe_load((tmp_path / "run/.hydra/config.yaml").read_text())["recipe"]["optimizer"]
    assert optimizer.keys() == {"_target_", "_partial_", "lr", "weight_decay"}
    typed = program("sparseift.train", quick(adamw, "recipe.optimizer.momentum=0.5"), tmp_path)
    assert typed.code == 2 and "there is no option 'recipe.optimizer.momentum'" in typed.err


def test_the_dense_baseline_of_an_experiment_with_rigl(program, tmp_path) -> None:
    arguments = ["experiment=python_text/quickstart", "member=dense"]
    outcome = program("sparseift.profile", arguments, tmp_path)
    assert outcome.code == 0, outcome
    assert "sparsifier: dropped update_interval, which a run without masks does not use" in outcome.err
    typed = program("sparseift.profile", [*arguments, "sparsifier.update_interval=3"], tmp_path)
    assert typed.code == 2 and "there is no option 'sparsifier.update_interval'" in typed.err


def test_another_choice_than_that_of_an_experiment(program, tmp_path) -> None:
    """The experiment sets options of RigL."""
    file = tmp_path / "my_conf/experiment/mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nsparsifier:\n  update_interval: 3\nmember:\n  rounding: down\n")
    choices = ["experiment=mine", "sparsifier=static", "member=sparse_doped", "hydra.run.dir=run"]
    outcome = program("sparseift.train", ["--config-dir", "my_conf", *quick(*choices)], tmp_path)
    assert outcome.code == 0, outcome
    assert "sparsifier: dropped update_interval, which sparseift.sparsifiers.Static does not take" in outcome.err
    assert "member: dropped rounding, which sparseift.members.SparseDoped does not take" in outcome.err
    config = yaml.safe_load((tmp_path / "run/.hydra/config.yaml").read_text())
    assert config["sparsifier"] == {"_target_": "sparseift.sparsifiers.Static"} and "rounding" not in config["member"]
    typed = [*quick(*choices[:3]), "+sparsifier.begin=0.1"]
    assert (
        "there is no option 'sparsifier.begin'"
        in program("sparseift.train", ["--config-dir", "my_conf", *typed], tmp_path).err
    )


SWEEPER = '''
from hydra.plugins.sweeper import Sweeper


class Best(Sweeper):
    """Launches one job after the other, and keeps what they return."""

    def setup(self, *, hydra_context, task_function, config):
        from hydra.core.plugins import Plugins

        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        from pathlib import Path

        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        values = []
        for index, seed in enumerate((0, 1)):
            [job] = self.launcher.launch([[*arguments, f"seed={seed}"]], initial_job_idx=index)
            values.append(job.return_value)
        Path("returned").write_text(repr(values))
'''


def test_a_sweeper_gets_the_metric(tmp_path) -> None:
    """As Optuna's sweeper does, one by one."""
    (tmp_path / "hydra_plugins/own").mkdir(parents=True)
    (tmp_path / "hydra_plugins/own/__init__.py").write_text("")
    (tmp_path / "hydra_plugins/own/best.py").write_text(SWEEPER)
    (tmp_path / "my_conf/hydra/sweeper").mkdir(parents=True)
    (tmp_path / "my_conf/hydra/sweeper/best.yaml").write_text("_target_: hydra_plugins.own.best.Best\n")
    sweep = ["--config-dir", "my_conf", "-m", *quick("sparsifier=static", "hydra/sweeper=best", "hydra.sweep.dir=s")]
    command = [sys.executable, "-m", "sparseift.train", *sweep]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True)
    found = sorted(
        (results(path.parent)["seed"], results(path.parent)["val"]["acc1"])
        for path in tmp_path.glob("s/*/results.json")
    )
    assert (tmp_path / "returned").read_text() == repr([value for _, value in found]) and len(found) == 2
    assert all(torch.isfinite(torch.tensor(value)) for _, value in found)
