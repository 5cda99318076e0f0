"""docs/cluster.md is correct: its commands compose, its options exist, its numbers are those of the plan.

tests/slurm runs such commands on a real SLURM.
"""

from __future__ import annotations

import re
import shlex
from datetime import timedelta

import pytest
import torch
import torchvision
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

import sparseift
import sparseift.app.launchers  # the resolvers
from sparseift.app.overrides import config_folder

from .pages import ROOT, composed

TEXT = (ROOT / "docs" / "cluster.md").read_text()
LINES = [line for block in re.findall(r"^```bash\n(.*?)^```$", TEXT, re.M | re.S) for line in block.splitlines()]
TRAINING = [line.partition("sparseift train")[2].strip("' ") for line in LINES if "sparseift train" in line]


def test_the_page_has_commands() -> None:
    assert len(TRAINING) >= 7


@pytest.mark.parametrize("line", TRAINING)
def test_commands_compose(line: str) -> None:
    config = composed(shlex.split(line))
    launched = "hydra/launcher=slurm" in line
    assert launched == ("-m" in shlex.split(line))
    if launched:
        launcher = OmegaConf.to_container(config.hydra.launcher, resolve=False)
        with_gpus = config.trainer.accelerator != "cpu"
        resolved = OmegaConf.create({"hydra": {"launcher": launcher}, "trainer": config.trainer})
        assert resolved.hydra.launcher.tasks_per_node == config.trainer.devices
        assert resolved.hydra.launcher.nodes == config.trainer.num_nodes
        assert resolved.hydra.launcher.gpus_per_node == (config.trainer.devices if with_gpus else None)


def own(tmp_path, name: str, defaults: str) -> str:
    """The override that adds a folder with the choice on the page that has these defaults."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    file = tmp_path / "my_conf" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(next(block for block in blocks if block.startswith(f"defaults: [{defaults}]")))
    return f"hydra.searchpath=[file://{tmp_path}/my_conf]"


def test_a_time_out_of_ones_own(tmp_path) -> None:
    config = composed([], own(tmp_path, "trainer/patient", "ddp"), "trainer=patient")
    assert config.trainer.devices == "auto"
    assert instantiate(config.trainer.strategy)._timeout == timedelta(minutes=60)


def test_a_launcher_of_ones_own(tmp_path) -> None:
    searched = own(tmp_path, "hydra/launcher/here", "slurm")
    config = composed([], searched, "hydra/launcher=here")
    assert (config.hydra.launcher.partition, config.hydra.launcher.cpus_per_task) == ("gpu", 9)
    assert config.hydra.launcher._target_.endswith("SlurmLauncher")


def test_options_of_the_launcher_exist() -> None:
    known = {f"hydra.launcher.{key}" for name in ("slurm", "parallel") for key in launcher_of(name)}
    named = set(re.findall(r"hydra\.launcher\.\w+", TEXT))
    assert len(named) > 5 and not named - known


def launcher_of(name: str) -> DictConfig:
    return OmegaConf.load(config_folder() / "hydra" / "launcher" / f"{name}.yaml")


def test_every_option_is_explained() -> None:
    """By a comment on its line, or by one above a block of options."""
    lines = (config_folder() / "hydra" / "launcher" / "slurm.yaml").read_text().splitlines()
    plain = {line.partition(":")[0] for line in lines if re.match(r"\w+:", line) and "#" not in line}
    assert plain <= {
        "_target_",
        "nodes",
        "tasks_per_node",
        "partition",
        "account",
        "qos",
        "comment",
        "stderr_to_stdout",
    }


def test_the_plan_has_these_weights_and_hours() -> None:
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if " M |" in line]
    assert len(rows) == 13
    for member, sparsity, weights, each, *_, hours in rows:
        if sparsity in ("-", "0.75"):
            example = torch.empty(1, 3, 224, 224, device="meta")
            dense = member == "dense"
            _, plan = sparseift.sparsify(torchvision.models.resnet18(), member, 0.75, example, masked=not dense)
            masks = sum(layer.numel for layer in plan.masked.values())  # of a byte each
            assert float(each) == pytest.approx(18 + masks / plan.params_stored, abs=0.06)
            flops = 3 * plan.forward_stored * 1_281_167 * 90
            assert (weights, hours) == (f"{plan.params_stored / 1e6:.1f} M", f"{flops / (312e12 * 0.15) / 3600:.0f}")
