"""The paper's figures in sparseift/published.json: each with the source it was seen in, named as runs name things."""

import json
from importlib.resources import files

import pytest

from .conftest import CONF

DATA = json.loads(files("sparseift.report").joinpath("published.json").read_text())
FIGURES = DATA["figures"]

SEEN = {  # the figures that were read in a source; in order
    ("cifar100", "resnet18_cifar"): [77.0, 80.1, 80.0],
    ("cifar100", "mobilenet_v2_cifar"): [72.4, 73.7],
    ("cifar100", "mobilevit_s"): [73.5, 74.8],
    ("cifar100", "botnet26t_256"): [78.0, 78.7],
    ("cifar100", "botnet50ts_256"): [79.8, 80.9],
    ("imagenet", "resnet18"): [70.9, 74.4, 74.0],
    ("imagenet", "resnet34"): [74.2, 76.8],
    ("imagenet", "botnet50ts_256"): [77.5, 78.5],
    ("coco", "resnet18"): [29.3, 34.5],
    ("cityscapes", "resnet18"): [76.7, 79.1],
    ("pile", "gpt3_small"): [33.8, 34.7],
}


def test_holds_what_was_seen_and_nothing_else() -> None:
    found: dict[tuple[str, str], list[float]] = {}
    for figure in FIGURES:
        found.setdefault((figure["dataset"], figure["model"]), []).append(figure["value"])
    assert found == SEEN


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: "-".join(str(value) for value in figure.values()))
def test_every_figure_has_a_source_and_names_of_ours(figure: dict) -> None:
    assert figure["source"] and set(figure["source"]) <= DATA["sources"].keys()
    assert (CONF / "member" / f"{figure['member']}.yaml").exists()
    assert (figure["sparsity"] == 0) == (figure["member"] == "dense") == (figure["sparsifier"] == "none")
    assert figure["member"] == "dense" or 0 < figure["sparsity"] < 1


def test_gains_that_the_abstract_names() -> None:
    """+3.5 % for ResNet-18 on ImageNet, +0.9 for GPT-3 Small."""
    for (dataset, model), gain in {("imagenet", "resnet18"): 3.5, ("pile", "gpt3_small"): 0.9}.items():
        dense, wide, *_ = SEEN[dataset, model]
        assert wide - dense == pytest.approx(gain)
