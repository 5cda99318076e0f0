"""docs/transfer.md: its commands, on a small run and on files in the formats of CityScapes and COCO."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import Cityscapes

import sparseift

from ..e2e.programs import environment
from .pages import DOCS, ROOT, blocks

LINES = [line for block in blocks(DOCS / "transfer.md") if block.language == "bash" for line in block.code.splitlines()]
SHORT = ["--epochs", "1", "--batch-size", "2", "--size", "64", "--workers", "0", "--device", "cpu"]
OF_RUN = ("dataset=synthetic", "dataset.channels=3", "dataset.train_images=96", "model=resnet18", "trainer=cpu")
PIXELS = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(program, tmp_path_factory) -> Path:
    """A run of Sparse Wide ResNet-18 of a quarter of the width, and both data sets."""
    folder = tmp_path_factory.mktemp("transfer")
    settings = [*OF_RUN, "+model.width_per_group=64", "recipe.epochs=1", "sparsifier=static", "export=false"]
    outcome = program("sparseift.train", [*settings, "hydra.run.dir=runs/wide"], folder)
    assert outcome.code == 0, outcome
    write_cityscapes(folder / "cityscapes")
    write_coco(folder / "coco")
    return folder


def write_cityscapes(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            name = f"ulm_{number:06}_000019"
            ids = np.full((80, 160), 7, np.uint8)  # road
            ids[:40] = 23  # sky
            ids[:, :10] = 1  # a border, which is ignored
            for kind, end, pixels in (
                ("leftImg8bit", "leftImg8bit", np.stack([ids * 10] * 3, -1)),
                ("gtFine", "gtFine_labelIds", ids),
            ):
                path = root / kind / split / "ulm" / f"{name}_{end}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def write_coco(root: Path) -> None:
    for split, count in (("train", 4), ("val", 2)):
        (root / f"{split}2017").mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            pixels = PIXELS.integers(0, 60, (80, 100, 3), dtype=np.uint8)
            pixels[20:60, 30:70] += 150
            Image.fromarray(pixels).save(root / f"{split}2017" / f"{number}.jpg")
            images.append({"id": number, "file_name": f"{number}.jpg", "height": 80, "width": 100})
            if number:  # the first image has no box
                box = {"bbox": [30, 20, 40, 40], "area": 1600, "iscrowd": 0, "segmentation": []}
                annotations.append({"id": number, "image_id": number, "category_id": 3, **box})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "car"}]}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))


def transferred(folder: Path, words: list[str]) -> str:
    assert words[:2] == ["python", "examples/transfer.py"]
    command = [sys.executable, str(ROOT / words[1]), *words[2:], *SHORT]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python")])
def test_command(line: str, folder: Path) -> None:
    words = shlex.split(line)
    if "detection" in words:
        pytest.importorskip("pycocotools")
    out = transferred(folder, words)
    zeros = float(re.search(r"^(0\.\d+) of the masked weights are zero$", out, re.MULTILINE)[1])
    density = sparseift.load(folder / "runs/wide").plan.density
    assert zeros < 0.1 if "release" in words else zeros == pytest.approx(1 - density, abs=1e-3)
    assert re.search(r"^mean (IoU|average precision) [01]\.\d{4}$", out, re.MULTILINE)
    written = torch.load(folder / "transfer.pt", weights_only=True)
    assert any(name.endswith("layer4.1.conv2.weight") for name in written)


def test_the_run_is_that_of_an_experiment() -> None:
    (first,) = [line for line in LINES if line.startswith("sparseift train")]
    assert first == "sparseift train experiment=imagenet/resnet18 hydra.run.dir=runs/wide"
    assert (ROOT / "conf/experiment/imagenet/resnet18.yaml").exists()


def test_classes_of_cityscapes() -> None:
    """19 of them count; the others have no class of their own."""
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from transfer import IGNORED, Segmentation
    finally:
        sys.path.pop(0)
    ids = Segmentation(None, [0.0], [1.0]).train_ids
    assert sorted(ids[ids != IGNORED].tolist()) == list(range(19))
    named = {kind.name: int(ids[kind.id]) for kind in Cityscapes.classes if kind.id >= 0}
    assert (named["road"], named["sky"], named["bicycle"], named["ego vehicle"]) == (0, 10, 18, IGNORED)
