"""The ImageNet experiments on a folder of JPEGs like ImageNet's: odd sizes, a grey, a CMYK and a damaged one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sparseift import Masks
from sparseift.app.build import TrainingParts
from sparseift.data.images.files import DamagedImage

Build = Callable[..., TrainingParts]

CLASSES, TRAIN, VAL = 3, 9, 4
DAMAGED = Path("train", "n01", "3.JPEG")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    modes = {Path("train", "n00", "0.JPEG"): "L", Path("train", "n02", "1.JPEG"): "CMYK"}
    for split, count in (("train", TRAIN), ("val", VAL)):
        for label in range(CLASSES):
            (folder / split / f"n{label:02}").mkdir(parents=True)
            for i in range(count):
                name = Path(split, f"n{label:02}", f"{i}.JPEG")
                height, width = rng.integers(20, 90, 2)
                pixels = rng.integers(60 * label, 60 * label + 100, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(modes.get(name, "RGB")).save(folder / name)
    (folder / DAMAGED).write_bytes((folder / DAMAGED).read_bytes()[:-40])
    return folder


def narrow(root: Path, *overrides: str) -> list[str]:
    """ImageNet and its recipe at 32 pixels on a CPU, for one epoch of a ResNet-18 that is a sixteenth as wide."""
    return [
        "dataset=imagenet",
        f"dataset.root={root}",
        f"dataset.num_classes={CLASSES}",
        "dataset.image_size=32",
        "dataset.val_size=3",
        "dataset.batch_size=8",
        "dataset.num_workers=0",
        "recipe.epochs=1",
        "model.base_width=4",
        *overrides,
    ]


def fit(run: TrainingParts) -> None:
    run.trainer.fit(run.module, run.data)


@pytest.mark.parametrize("member", ["dense", "sparse_wide", "sparse_parallel"])
def test_an_epoch_trains_at_equal_flops(build: Build, root: Path, member: str) -> None:
    updates = [] if member == "dense" else ["sparsifier.update_interval=1"]
    precision = "trainer.precision=bf16-mixed"  # a CPU has no 16-mixed
    with pytest.warns(UserWarning, match=f"left out damaged images of .*: {root / DAMAGED}$"):
        run = build(*narrow(root, f"member={member}", precision, "dataset.skip_damaged=true", *updates))
    before = {name: parameter.clone() for name, parameter in run.net.named_parameters()}
    fit(run)
    assert run.trainer.global_step == -(-(CLASSES * TRAIN - 1 - 3) // 8)
    assert abs(run.plan.ratio - 1) < 1e-3
    assert all(torch.isfinite(parameter).all() for parameter in run.net.parameters())
    assert any(not torch.equal(parameter, before[name]) for name, parameter in run.net.named_parameters())
    for name in run.masks or ():
        assert not run.net.get_submodule(name).weight[~run.masks[name]].any()
    [result] = run.trainer.test(run.module, run.data, verbose=False)
    assert 0 <= result["test/acc1"] <= result["test/acc5"] == 1


def test_a_damaged_image_ends_the_run_with_its_name(build: Build, root: Path) -> None:
    run = build(*narrow(root, "sparsifier=static"))
    with pytest.raises(DamagedImage, match=f"^{root / DAMAGED} can't be decoded"):
        fit(run)


def test_synchronised_norms_keep_the_masks(build: Build, root: Path) -> None:
    """trainer.sync_batchnorm=true exchanges the norms of the network; masked weights stay the same parameters."""
    run = build(*narrow(root))
    weights = {name: run.net.get_submodule(name).weight for name in run.masks}
    net = nn.SyncBatchNorm.convert_sync_batchnorm(run.net)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in net.modules())
    assert isinstance(run.masks, Masks)
    for name in run.masks:
        assert net.get_submodule(name).weight is weights[name] is run.masks.weights[name]
