"""What results.json and the folder of a run call what ran."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)
from sparseift.app.names import names_of, renamed, run_name
from sparseift.app.overrides import choices_of, config_folder, plain_choice

DEFAULTS = {
    "model": "resnet18_cifar",
    "member": "sparse_wide",
    "sparsifier": "rigl",
    "pattern": "unstructured",
    "backend": "masked",
    "task": "classification",
    "dataset": "cifar100",
    "distribution": "uniform",
}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", [plain_choice(override) for override in overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize("group", DEFAULTS)
def test_every_choice_has_its_name(group: str) -> None:
    folder = "sparsity" if group == "distribution" else group
    choices = choices_of(config_folder() / folder)
    for choice in choices if group != "model" else choices.keys() - {"timm", "torchvision", "transformers", *BY_NAME}:
        assert names_of(composed(f"{folder}={choice}"))[group] == choice


BY_NAME = {"botnet26": "botnet26t_256", "botnet50": "botnet50ts_256", "mobilevit_s": "mobilevit_s"}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        *((f"model={choice}", name) for choice, name in BY_NAME.items()),
        ("model=timm model.name=resnet26", "resnet26"),
        ("model=torchvision model.name=vgg11", "vgg11"),
        ("model.base_width=8", "resnet18_cifar"),
        ("model._target_=mynets.resnet18_cifar", "mynets.resnet18_cifar"),
        ("++model._target_=mynets.resnet18_cifar", "mynets.resnet18_cifar"),
        ("model._target_=sparseift.models.resnet18_cifar", "resnet18_cifar"),
        ("model._target_=sparseift.models.resnet34_cifar", "resnet34_cifar"),
        ("model=botnet26 model._target_=mynets.from_timm", "mynets.from_timm"),
    ],
)
def test_networks(overrides: str, name: str) -> None:
    assert names_of(composed(*overrides.split()))["model"] == name


@pytest.mark.parametrize("group", ["member", "sparsifier", "pattern", "backend", "task", "dataset", "distribution"])
def test_what_replaces_a_choice_does_not_have_its_name(group: str) -> None:
    node = "sparsity.distribution" if group == "distribution" else group
    assert names_of(composed(f"{node}._target_=mine.Thing")) == {**DEFAULTS, group: "mine.Thing"}
    assert names_of(composed("sparsifier=rigl_itop", f"{node}._target_=sparseift.a.b.C"))[group] == "C"


def test_choices_of_others(tmp_path: Path) -> None:
    """Files of a user have the names that the user gave them."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/derived.yaml").write_text("defaults: [resnet18_cifar]\n")
    (tmp_path / "model/own.yaml").write_text("_target_: mynets.Net\nname: resnet50\n")
    path = f"hydra.searchpath=[{tmp_path}]"
    assert names_of(composed(path, "model=derived"))["model"] == "derived"
    assert names_of(composed(path, "model=own"))["model"] == "own"
    assert names_of(composed(path, "model=own", "model._target_=mynets.Other"))["model"] == "mynets.Other"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ("sparsity=0.9 seed=3", "resnet18_cifar_cifar100_sparse_wide_0.9_rigl_seed3"),
        ("sparsity=erk", "resnet18_cifar_cifar100_sparse_wide_0.75_rigl_seed0"),
        ("member=dense", "resnet18_cifar_cifar100_dense_seed0"),
        ("member=dense sparsifier=gmp", "resnet18_cifar_cifar100_dense_0.75_gmp_seed0"),
        ("sparsifier=none", "resnet18_cifar_cifar100_sparse_wide_0.75_none_seed0"),
        ("sparsifier._target_=null", "resnet18_cifar_cifar100_sparse_wide_0.75_none_seed0"),
        ("pattern=n_of_m sparsifier=set", "resnet18_cifar_cifar100_sparse_wide_0.75_set_n_of_m_seed0"),
        ("model=timm model.name=vit_tiny dataset=digits", "vit_tiny_digits_sparse_wide_0.75_rigl_seed0"),
        ("model._target_=nets.Net dataset._target_=d/e", "nets.Net_d-e_sparse_wide_0.75_rigl_seed0"),
    ],
)
def test_folders(overrides: str, name: str) -> None:
    config = composed(*overrides.split())
    assert run_name(config) == name
    assert config.hydra.run.dir.startswith("runs/2") and config.hydra.run.dir.endswith(f"_{name}")


def test_settings_of_earlier_versions() -> None:
    """They named the choice even if something else ran; another class or another choice stays another one."""
    like = {"model": "nets.Net", "model._target_": "nets.Net", "member": "dense", "member._target_": "Dense"}
    saved = {"model": "resnet18_cifar", "model._target_": "nets.Net", "member": "sparse_wide", "member._target_": "W"}
    assert renamed(saved, like) == {**saved, "model": "nets.Net"}
    assert renamed({"model": "resnet18_cifar"}, like) == {"model": "resnet18_cifar"}
