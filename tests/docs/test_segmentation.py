"""docs/segmentation.md: its metric against a count in loops, its network under every member, and what it learns.

Its commands are run with those of all pages.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from sparseift import sparsify
from sparseift.tasks.checked import Checked

from .pages import write_files

MEMBERS = ("sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> ModuleType:
    folder: Path = tmp_path_factory.mktemp("page")
    write_files(folder)
    spec = importlib.util.spec_from_file_location("segmentation", folder / "segmentation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mean_iou_by_hand(page: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, true = torch.randn(5, 4, 6, 7, generator=generator), torch.randint(3, (5, 6, 7), generator=generator)
    logits[0, 3] = -9  # a class that is neither there nor found
    task = Checked(page.Segmentation(4, 6))
    measured = task.measure({"out": logits}, (None, true))
    for image, found in enumerate(logits.argmax(1)):
        ious = []
        for kind in range(4):
            a = {place for place in range(42) if found.flatten()[place] == kind}
            b = {place for place in range(42) if true[image].flatten()[place] == kind}
            ious += [len(a & b) / len(a | b)] if a | b else []
        assert measured["miou"][image].item() == pytest.approx(sum(ious) / len(ious))
    perfect = {"out": torch.nn.functional.one_hot(true, 4).movedim(-1, 1).float()}
    assert task.measure(perfect, (None, true))["miou"].tolist() == [1] * 5


def test_masks_belong_to_the_images(page: ModuleType) -> None:
    common = {"batch_size": 4, "val_size": 4, "num_workers": 0, "seed": 0, "split_seed": 0}
    data = page.Shapes(32, 16, 4, **common)
    for image, classes in data.load(train=True):
        if (classes > 0).any():
            inside, outside = image[:, classes > 0].mean(), image[:, classes == 0].mean()
            assert inside - outside > 0.7
        assert set(classes.unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_applies(page: ModuleType, member: str) -> None:
    with torch.device("meta"):
        net = page.fcn_resnet18(3)
    net, plan = sparsify(net, member, 0.75, page.Segmentation(3, 32).example())
    assert plan.ratio == pytest.approx(1, abs=1e-3) and len(plan.masked) >= 8
    assert net(torch.empty(2, 3, 32, 32, device="meta"))["out"].shape == (2, 3, 32, 32)


def test_deeplab_of_torchvision(page: ModuleType) -> None:
    with torch.device("meta"):
        net = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=3)
    _, plan = sparsify(net, "sparse_wide", 0.75, page.Segmentation(3, 32).example())
    assert plan.ratio == pytest.approx(1, abs=1e-3)
