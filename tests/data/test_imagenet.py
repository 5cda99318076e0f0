"""ImageNet's transforms and folders, on a few JPEGs of odd sizes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparseift.data.imagenet import ImageNet
from sparseift.errors import UserError

SIZES = [(40, 61), (61, 40), (33, 33), (90, 35)]


def write(folder: Path, classes: str) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i, (width, height) in enumerate(SIZES):
            shape = (height, width) if i == 2 else (height, width, 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name / f"{i}.jpg")


@pytest.fixture
def make(settings, tmp_path: Path):
    def build(**changes) -> ImageNet:
        options = settings(root=str(tmp_path), num_classes=3, channels=3, image_size=28, val_size=3)
        del options["crop_padding"], options["flip"]
        return ImageNet(**options | changes)

    return build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "train", "abc")
    write(tmp_path / "val", "abc")
    return tmp_path


def test_loads_images_of_any_size_in_square_crops(make, root: Path) -> None:
    data = make()
    for loader, count in (
        (data.train_dataloader(), 9),
        (data.val_dataloader(), 3),
        (data.test_dataloader(), 12),
    ):
        images, targets = (torch.cat(parts) for parts in zip(*loader, strict=True))
        assert images.shape == (count, 3, 28, 28)
        assert targets.unique().tolist() == [0, 1, 2]
    grey = data.test_dataloader().dataset[2][0]
    assert torch.equal(grey[0], grey[2])


def test_evaluation_resizes_the_shorter_side_and_cuts_out_the_centre(make, root: Path) -> None:
    image, _ = make().test_dataloader().dataset[0]
    with Image.open(root / "val" / "a" / "0.jpg") as file:
        resized = np.asarray(file.resize((32, 48), Image.Resampling.BILINEAR))  # 40 x 61, 28 * 256 / 224 = 32
    assert torch.equal(image, torch.from_numpy(resized[10:38, 2:30].copy()).permute(2, 0, 1))


def test_evaluation_at_224_is_the_recipe_of_the_paper(make) -> None:
    resize, crop, _ = make(image_size=224).eval_transform().transforms
    assert (resize.size, crop.size) == ([256], (224, 224))


def test_training_images_look_different_each_epoch(make, root: Path) -> None:
    view = make().train_dataloader().dataset
    assert torch.equal(view[0, 0][0], view[0, 0][0])
    assert not torch.equal(view[0, 0][0], view[1, 0][0])


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_missing_folder_is_named(make, tmp_path: Path, missing: str) -> None:
    write(tmp_path / {"train": "val", "val": "train"}[missing], "abc")
    loader = make().train_dataloader if missing == "train" else make().test_dataloader
    with pytest.raises(UserError, match=f"^no folder {tmp_path / missing}: dataset.root must hold train and val"):
        loader()


def test_an_empty_folder_is_named(make, root: Path) -> None:
    for file in (root / "train" / "b").iterdir():
        file.unlink()
    with pytest.raises(
        UserError, match=f"^{root / 'train'} must hold one folder of images per class: .* b."
    ) as refusal:
        make().train_dataloader()
    assert "\n" not in str(refusal.value)


def test_other_numbers_of_classes_are_refused(make, root: Path) -> None:
    with pytest.raises(UserError, match=r"dataset.num_classes=1000 does not fit the data: dataset.num_classes=3"):
        make(num_classes=1000).train_dataloader()


def test_test_classes_must_be_the_training_classes(make, tmp_path: Path) -> None:
    write(tmp_path / "train", "abc")
    write(tmp_path / "val", "acd")
    with pytest.raises(UserError, match="must hold the same classes"):
        make().test_dataloader()


def test_only_three_channels(make) -> None:
    with pytest.raises(UserError, match=r"dataset.channels=3"):
        make(channels=1)
