"""Every file of conf/experiment: what it chooses, where it says it comes from, and that it costs what it should."""

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)
from sparseift.app.build import build_network, make
from sparseift.app.help import sets
from sparseift.app.profile import as_dict
from sparseift.sparsity import Plan

CONF = Path(__file__).parents[2] / "conf"
FOLDER = CONF / "experiment"
NAMES = sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.yaml"))

CIFAR = ("uniform", "cifar100", "cifar")
IMAGENET = ("uniform", "imagenet", "imagenet")
RIGL = ("erk", "imagenet", "imagenet_rigl")
WIKITEXT = ("uniform", "wikitext103", "gpt3_wikitext103")
PILE = ("uniform", "pile", "gpt3_pile")
CHOICES = {
    "cifar100/resnet18": ("resnet18_cifar", "sparse_wide", "rigl", *CIFAR),
    "cifar100/resnet18_dense": ("resnet18_cifar", "dense", "none", *CIFAR),
    "cifar100/resnet18_sparse_parallel": ("resnet18_cifar", "sparse_parallel", "rigl", *CIFAR),
    "cifar100/resnet18_sparse_factorized": ("resnet18_cifar", "sparse_factorized", "rigl", *CIFAR),
    "cifar100/resnet18_sparse_doped": ("resnet18_cifar", "sparse_doped", "rigl", *CIFAR),
    "cifar100/resnet18_static": ("resnet18_cifar", "sparse_wide", "static", *CIFAR),
    "cifar100/resnet18_set": ("resnet18_cifar", "sparse_wide", "set", *CIFAR),
    "cifar100/mobilenet_v2": ("mobilenet_v2_cifar", "sparse_wide", "rigl", *CIFAR),
    "cifar100/mobilevit_s": ("mobilevit_s", "sparse_wide", "rigl", *CIFAR),
    "cifar100/botnet26": ("botnet26", "sparse_wide", "rigl", *CIFAR),
    "cifar100/botnet50": ("botnet50", "sparse_wide", "rigl", *CIFAR),
    "imagenet/resnet18": ("resnet18", "sparse_wide", "rigl", *IMAGENET),
    "imagenet/resnet18_dense": ("resnet18", "dense", "none", *IMAGENET),
    "imagenet/resnet18_sparse_parallel": ("resnet18", "sparse_parallel", "rigl", *IMAGENET),
    "imagenet/resnet34": ("resnet34", "sparse_wide", "rigl", *IMAGENET),
    "imagenet/resnet34_dense": ("resnet34", "dense", "none", *IMAGENET),
    "imagenet/resnet34_sparse_parallel": ("resnet34", "sparse_parallel", "rigl", *IMAGENET),
    "imagenet/botnet50": ("botnet50", "sparse_wide", "rigl", *IMAGENET),
    "imagenet/resnet50_static": ("resnet50", "dense", "static", *RIGL),
    "imagenet/resnet50_set": ("resnet50", "dense", "set", *RIGL),
    "imagenet/resnet50_rigl": ("resnet50", "dense", "rigl", *RIGL),
    "wikitext103/gpt3_small": ("gpt3_small", "sparse_wide", "static", *WIKITEXT),
    "wikitext103/gpt3_small_dense": ("gpt3_small", "dense", "none", *WIKITEXT),
    "wikitext103/gpt3_small_rigl": ("gpt3_small", "sparse_wide", "rigl", *WIKITEXT),
    "pile/gpt3_small": ("gpt3_small", "sparse_wide", "rigl", *PILE),
    "pile/gpt3_small_dense": ("gpt3_small", "dense", "none", *PILE),
    "pile/gpt3_small_static": ("gpt3_small", "sparse_wide", "static", *PILE),
}
GROUPS = ("model", "member", "sparsifier", "sparsity", "dataset", "recipe")


@cache
def composed(name: str | None) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [f"experiment={name}"] if name else [], return_hydra_config=True)


def bases(name: str) -> list[str]:
    """The file and those that it builds on, as text."""
    text = (FOLDER / f"{name}.yaml").read_text()
    base = re.search(r"^  - /experiment/(\S+)$", text, re.MULTILINE)
    return [text, *(bases(base[1]) if base else [])]


def levels(name: str) -> list[float]:
    """The sparsities of its table: those that its comment sweeps over, else its own."""
    for text in bases(name):
        if sweep := re.search(r"\bsparsity=([\d.,]*\d)", text):
            return [float(level) for level in sweep[1].split(",")]
    return [composed(name).sparsity.level]


PLANS: dict[str, Plan] = {}


def planned(name: str, level: float) -> Plan:
    """The plan of an experiment, made once for all that share it."""
    config = composed(name).copy()
    config.sparsity.level = level
    masked = config.sparsifier._target_ is not None
    parts = [OmegaConf.to_container(config[key], resolve=True) for key in ("model", "member", "sparsity")]
    key = json.dumps([*parts, OmegaConf.to_container(config.task, resolve=True), masked])
    if key not in PLANS:
        PLANS[key] = build_network(config, on_meta=True)[1]
    return PLANS[key]


def test_there_is_one_for_every_table() -> None:
    assert CHOICES.keys() <= set(NAMES)


@pytest.mark.parametrize("name", CHOICES)
def test_chooses_what_its_table_is_about(name: str) -> None:
    choices = composed(name).hydra.runtime.choices
    assert tuple(choices[group] for group in GROUPS) == CHOICES[name]
    assert composed(name).recipe == composed(name.replace("_dense", "")).recipe


@pytest.mark.parametrize("name", NAMES)
def test_is_in_the_folder_of_its_data_set(name: str) -> None:
    assert composed(name).hydra.runtime.choices.dataset == name.partition("/")[0]


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_it_sets(name: str) -> None:
    told = sets(FOLDER / f"{name}.yaml")
    choices = dict(composed(name).hydra.runtime.choices)
    lists = {"callbacks"}  # Hydra does not record these
    assert {key: told[key] for key in told.keys() - lists}.items() <= choices.items()
    changed = choices.items() - dict(composed(None).hydra.runtime.choices).items()
    assert changed - {("experiment", name)} <= told.items()


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    first, second, *_ = bases(name)[0].splitlines()
    assert first == "# @package _global_" and second.startswith("# ")
    assert re.search(r"^# Source: \S", bases(name)[0], re.MULTILINE)
    assert any(re.search(r"^# Recipe: \S", text, re.MULTILINE) for text in bases(name))


@pytest.mark.parametrize(
    "name", ["cifar100/mobilenet_v2", "cifar100/mobilevit_s", "cifar100/botnet26", "imagenet/botnet50"]
)
def test_a_recipe_that_is_not_known_is_not_passed_off_as_the_paper_s(name: str) -> None:
    assert "# Recipe: not known; this is the nearest known one" in bases(name)[0]


@pytest.mark.parametrize("name", NAMES)
def test_costs_what_it_should(name: str) -> None:
    """A member of the family the dense budget; the dense network all of it; sparse training of the dense one a part."""
    config = composed(name)
    choices = config.hydra.runtime.choices
    for level in levels(name):
        plan = planned(name, level)
        ratio = as_dict(plan)["ratio"]
        if choices.member != "dense":
            assert abs(ratio - 1) < 1e-3, level
            assert plan.masked
        elif choices.sparsifier == "none":
            assert ratio == 1 and not plan.masked
        else:
            assert ratio < 1
            assert plan.density == pytest.approx(1 - level, abs=1e-5)


PUBLISHED = {
    ("cifar100", "resnet18_cifar"): "cifar100/resnet18",
    ("cifar100", "mobilenet_v2_cifar"): "cifar100/mobilenet_v2",
    ("cifar100", "mobilevit_s"): "cifar100/mobilevit_s",
    ("cifar100", "botnet26t_256"): "cifar100/botnet26",
    ("cifar100", "botnet50ts_256"): "cifar100/botnet50",
    ("imagenet", "resnet18"): "imagenet/resnet18",
    ("imagenet", "resnet34"): "imagenet/resnet34",
    ("imagenet", "botnet50ts_256"): "imagenet/botnet50",
}


def test_the_runs_that_the_papers_figures_stand_beside() -> None:
    """They are told from others by their length and the FLOPs of their dense network."""
    runs = json.loads(files("sparseift.report").joinpath("published.json").read_text())["runs"]
    assert {(dataset, model) for dataset in runs for model in runs[dataset]} == PUBLISHED.keys()
    for (dataset, model), name in PUBLISHED.items():
        epochs, budget = composed(name).recipe.epochs, planned(name, levels(name)[0]).budget
        assert runs[dataset][model] == {"epochs": epochs, "budget": budget}, name


@pytest.mark.parametrize("name", NAMES)
def test_its_parts_can_be_made(name: str) -> None:
    config = composed(name)
    data, size = make(config.dataset), "vocab_size" if "vocab_size" in config.dataset else "num_classes"
    assert getattr(data, size) == config.dataset[size]
    for part in (config.recipe.optimizer, config.recipe.scheduler, config.sparsifier):
        assert part._target_ is None or callable(make(part)) or part is config.sparsifier


def test_imagenet_runs_use_mixed_precision_as_the_authors_do() -> None:
    names = [name for name in CHOICES if CHOICES[name][-1] == "imagenet"]
    assert {composed(name).trainer.precision for name in names} == {"16-mixed"}


def test_rigl_s_batch_is_4096_on_one_device() -> None:
    config = composed("imagenet/resnet50_rigl")
    assert config.dataset.batch_size * config.trainer.accumulate_grad_batches * config.trainer.devices == 4096
    assert config.recipe.optimizer.lr == 0.1 * 4096 / 256
