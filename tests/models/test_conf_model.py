"""Every file of conf/model builds a network for the chosen data set."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from sparseift.tasks.language_modelling import logits_of

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted((CONF / "model").glob("*.yaml"))
OF_TEXT = [file for file in FILES if file.stem.startswith(("gpt", "transformers"))]
OF_IMAGES = [file for file in FILES if file not in OF_TEXT]


def build(file: Path, num_classes: int, channels: int = 3) -> nn.Module:
    dataset = {"num_classes": num_classes, "channels": channels, "image_size": 64}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"model={file.stem}", *(f"dataset.{key}={value}" for key, value in dataset.items())])
    with torch.device("meta"):
        return instantiate(cfg.model)


def language_model(name: str, vocab_size: int, context_length: int) -> nn.Module:
    sizes = (f"dataset.vocab_size={vocab_size}", f"dataset.context_length={context_length}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"model={name}", "dataset=python_text", *sizes])
    with torch.device("cpu" if name == "transformers" else "meta"):  # its networks compute with values
        return instantiate(cfg.model)


@pytest.mark.parametrize("file", OF_IMAGES, ids=lambda file: file.stem)
def test_builds_with_the_classes_of_the_data(file: Path) -> None:
    net = build(file, num_classes=7)
    assert net(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("file", OF_TEXT, ids=lambda file: file.stem)
def test_builds_with_the_vocabulary_and_context_of_the_data(file: Path) -> None:
    net = language_model(file.stem, vocab_size=77, context_length=9)
    tokens = torch.zeros(2, 9, dtype=torch.int64, device=next(net.parameters()).device)
    assert logits_of(net(tokens)).shape == (2, 9, 77)


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


@pytest.mark.parametrize(("name", "parameters"), [("gpt3_small", 124_439_808), ("gpt3_medium", 354_823_168)])
def test_parameter_counts_of_gpt(name: str, parameters: int) -> None:
    """With the tokens and positions of GPT-2, these are GPT-2 Small and Medium."""
    net = language_model(name, vocab_size=50_257, context_length=1024)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert f"{parameters:,} parameters" in (CONF / "model" / f"{name}.yaml").read_text().replace("\n# ", " ")
