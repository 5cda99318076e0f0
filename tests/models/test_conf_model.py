"""Every file of conf/model builds a network for the chosen data set."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted((CONF / "model").glob("*.yaml"))


def build(file: Path, num_classes: int, channels: int = 3) -> nn.Module:
    dataset = {"num_classes": num_classes, "channels": channels, "image_size": 64}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"model={file.stem}", *(f"dataset.{key}={value}" for key, value in dataset.items())])
    with torch.device("meta"):
        return instantiate(cfg.model)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_builds_with_the_classes_of_the_data(file: Path) -> None:
    net = build(file, num_classes=7)
    assert net(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_starts_with_a_comment_that_says_what_it_is(file: Path) -> None:
    assert file.read_text().startswith("# ")


@pytest.mark.parametrize("name", ["resnet18_cifar", "resnet34_cifar"])
def test_small_image_networks_take_the_channels_of_the_data(name: str) -> None:
    [file] = [file for file in FILES if file.stem == name]
    assert build(file, num_classes=10, channels=1)(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("resnet18_cifar", 100, 11_220_132),
        ("resnet34_cifar", 100, 21_328_292),
        ("resnet18", 1000, 11_689_512),
        ("resnet34", 1000, 21_797_672),
        ("resnet50", 1000, 25_557_032),
        ("mobilenet_v2", 1000, 3_504_872),
        ("mobilenet_v2_cifar", 100, 2_369_380),
    ],
)
def test_parameter_counts_as_published(name: str, num_classes: int, parameters: int) -> None:
    [file] = [file for file in FILES if file.stem == name]
    assert sum(p.numel() for p in build(file, num_classes).parameters()) == parameters
