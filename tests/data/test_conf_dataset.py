"""Every file of conf/dataset builds its data module without reading data, and brings its recipe along."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from sparseift.data.images.base import ImageData
from sparseift.data.text.base import TextData

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(file.stem for file in (CONF / "dataset").glob("*.yaml"))
RECIPES = {"cifar10": "cifar", "cifar100": "cifar", "imagenet": "imagenet"}
RECIPES |= dict.fromkeys(("debian_docs", "python_text", "text"), "short_text")
RECIPES |= {"wikitext103": "gpt3_wikitext103", "pile": "gpt3_pile"}
TEXT = sorted(name for name, recipe in RECIPES.items() if recipe not in ("cifar", "imagenet"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"python"}))  # which is nothing without those of the user
def test_builds_without_data(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SPARSEIFT_DATA", str(tmp_path / "nowhere"))
    own = dict.fromkeys(("debian_docs", "python_text", "text"), "val_fraction=0.3")
    own |= {"wikitext103": "url=x", "pile": "url=x", "image_folder": "num_classes=2"}
    changes = ["batch_size=3", "num_workers=1", own.get(name, "val_size=7")]
    cfg = composed(f"dataset={name}", "seed=5", *(f"dataset.{change}" for change in changes))
    data = instantiate(cfg.dataset)
    assert isinstance(data, TextData if name in TEXT else ImageData)
    assert (data.batch_size, data.num_workers, data.seed) == (3, 1, 5)
    changed, value = own.get(name, "val_size=7").split("=")
    assert str(getattr(data, changed)) == value
    assert getattr(data, "root", tmp_path / "nowhere" / name) == tmp_path / "nowhere" / name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_root_given_by_hand_is_taken(name: str, tmp_path: Path) -> None:
    if "root" in composed(f"dataset={name}").dataset:
        classes = ["dataset.num_classes=2"] if name == "image_folder" else []  # counted in the folder otherwise
        cfg = composed(f"dataset={name}", f"dataset.root={tmp_path}", *classes)
        assert instantiate(cfg.dataset).root == tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is_and_brings_its_recipe(name: str) -> None:
    text = (CONF / "dataset" / f"{name}.yaml").read_text()
    assert text.removeprefix("# @package _global_\n").startswith("# ")

    recipe = RECIPES.get(name, "short")
    assert composed(f"dataset={name}").recipe == composed(f"recipe={recipe}").recipe
    other = "cifar" if recipe == "short" else "short"
    assert composed(f"dataset={name}", f"recipe={other}").recipe == composed(f"recipe={other}").recipe


@pytest.mark.parametrize("name", TEXT)
def test_text_brings_its_task_and_a_model_that_fits(name: str) -> None:
    """The choices of the command line take precedence, also over the model."""
    cfg = composed(f"dataset={name}")
    assert cfg.task._target_ == "sparseift.tasks.LanguageModelling" and cfg.model._target_ == "sparseift.models.GPT"
    assert composed(f"dataset={name}", "model=gpt3_medium").model.layers == 24


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_sets_that_need_no_files_fit_their_configuration(name: str, finished) -> None:
    cfg = composed(f"dataset={name}").dataset
    data = instantiate(cfg)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        images, targets = finished(data, loader)[0]
        assert images.shape == (cfg.batch_size, cfg.channels, cfg.image_size, cfg.image_size)
        assert set(targets.tolist()) <= set(range(cfg.num_classes))
    # Of test images, as padding darkens the training images.
    assert abs(images.mean()) < 0.1
    assert abs(images.std() - 1) < 0.1
