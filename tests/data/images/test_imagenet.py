"""ImageNet's transforms and folders, on a few JPEGs of odd sizes."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from sparseift.data.images.files import DamagedImage, decode
from sparseift.data.images.imagenet import ImageNet
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
        options = settings(root=str(tmp_path), num_classes=3, channels=3, image_size=28, val_size=3, skip_damaged=False)
        del options["crop_padding"], options["flip"], options["cutout"]
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
    expected = torch.from_numpy(resized[10:38, 2:30].copy()).permute(2, 0, 1)
    assert image.dtype == torch.uint8
    assert (image.int() - expected.int()).abs().max() <= 1  # torch rounds the resized image by itself


def test_evaluation_at_224_is_the_recipe_of_the_paper(make) -> None:
    resize, crop = make(image_size=224).eval_transform().transforms
    assert (resize.size, crop.size) == ([256], (224, 224))
    assert v2.InterpolationMode(resize.interpolation) is v2.InterpolationMode.BILINEAR and resize.antialias


def test_training_at_224_is_the_recipe_of_the_paper(make) -> None:
    crop, flip = make(image_size=224).train_transform().transforms
    assert (crop.size, crop.scale, crop.ratio) == ((224, 224), (0.08, 1.0), (3 / 4, 4 / 3))
    assert v2.InterpolationMode(crop.interpolation) is v2.InterpolationMode.BILINEAR and crop.antialias
    assert flip.p == 0.5


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK"), ("png", "RGB"), ("png", "L"), ("png", "P"), ("png", "RGBA")],
)
def test_images_of_every_kind_come_out_as_three_channels(tmp_path: Path, kind: str, mode: str) -> None:
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((64, 48), 0)
    path = tmp_path / f"image.{kind}"
    colours.convert(mode).save(path, **({"quality": 100} if kind == "jpg" else {}))
    image = decode(str(path))
    assert (image.shape, image.dtype) == ((3, 48, 64), torch.uint8)
    expected = colours.convert("L").convert("RGB") if mode == "L" else colours
    near = torch.from_numpy(np.asarray(expected).copy()).permute(2, 0, 1).int() - image.int()
    # The palette of P is coarse and JPEG blurs edges; a wrong order of channels or an inverted CMYK is off by far more.
    assert near.abs().float().mean() < 25


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 60, "progressive": True}], ids=str)
def test_jpegs_have_the_pixels_that_pillow_gives_them(tmp_path: Path, mode: str, options: dict) -> None:
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)).resize((63, 41))
    colours.convert(mode).save(tmp_path / "image.JPEG", **options)
    with Image.open(tmp_path / "image.JPEG") as file:
        expected = np.asarray(file.convert("RGB"))
    assert np.array_equal(decode(str(tmp_path / "image.JPEG")).permute(1, 2, 0).numpy(), expected)


def test_a_png_that_is_called_jpeg(tmp_path: Path) -> None:
    """As one image of ImageNet is."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.JPEG", format="PNG")
    assert np.array_equal(decode(str(tmp_path / "image.JPEG")).permute(1, 2, 0).numpy(), pixels)


def test_without_torchvisions_decoder(tmp_path: Path, monkeypatch) -> None:
    """Which is deprecated."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    path = tmp_path / "image.jpg"
    Image.fromarray(pixels).save(path)
    image = decode(str(path))
    monkeypatch.delattr("torchvision.io.decode_jpeg")
    assert torch.equal(decode(str(path)), image)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_damaged_image_is_named(make, root: Path, split: str) -> None:
    cut(root / split / "b" / "1.jpg")
    data = make(val_size=0)
    with pytest.raises(DamagedImage) as refusal:
        list(data.train_dataloader() if split == "train" else data.test_dataloader())
    said = str(refusal.value)
    assert said.startswith(f"{root / split / 'b' / '1.jpg'} can't be decoded (image file is truncated")
    assert said.endswith("); replace it, or leave such images out with dataset.skip_damaged=true")


def test_a_damaged_image_is_named_in_one_line_by_a_worker_too(make, root: Path) -> None:
    cut(root / "train" / "b" / "1.jpg")
    loader = make(num_workers=1, val_size=0).train_dataloader()
    try:
        with pytest.raises(DamagedImage, match=f"^{root / 'train' / 'b' / '1.jpg'} can't be decoded") as refusal:
            list(loader)
    finally:
        loader._iterator._shutdown_workers()  # as Lightning does; the garbage collector would wait for a timeout
    assert "\n" not in str(refusal.value)


def test_damaged_images_are_left_out_on_request_and_named(make, root: Path) -> None:
    cut(root / "train" / "b" / "1.jpg")
    (root / "train" / "c" / "0.jpg").write_bytes(b"")
    (root / "train" / "a" / "notes.txt").write_text("not an image")
    padded = root / "train" / "a" / "0.jpg"
    padded.write_bytes(padded.read_bytes() + bytes(9))  # unusual, but whole
    with pytest.warns(UserWarning, match="^left out damaged images of .*train/b/1.jpg, .*train/c/0.jpg$"):
        data = make(skip_damaged=True, val_size=0, batch_size=1)
        batches = list(data.train_dataloader())
    assert sorted(int(target) for _, target in batches) == [0] * 4 + [1] * 3 + [2] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert len(list(data.test_dataloader())) == 12


def test_training_images_look_different_each_epoch(make, root: Path) -> None:
    view = make().train_dataloader().dataset
    assert torch.equal(view[0, 0][0], view[0, 0][0])
    assert not torch.equal(view[0, 0][0], view[1, 0][0])


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_missing_folder_is_named(make, tmp_path: Path, missing: str) -> None:
    write(tmp_path / {"train": "val", "val": "train"}[missing], "abc")
    with pytest.raises(UserError, match=f"^no folder {tmp_path / missing}: dataset.root must hold train and val"):
        make().prepare_data()


def test_an_empty_folder_is_named(make, root: Path) -> None:
    for file in (root / "train" / "b").iterdir():
        file.unlink()
    with pytest.raises(
        UserError, match=f"^{root / 'train'} must hold one folder of images per class: .* b."
    ) as refusal:
        make().train_dataloader()
    assert "\n" not in str(refusal.value)


def test_other_numbers_of_classes_are_refused(make, root: Path) -> None:
    with pytest.raises(UserError, match=r"dataset.num_classes is 1000; expected 3, as in the data"):
        make(num_classes=1000).train_dataloader()


def test_test_classes_must_be_the_training_classes(make, tmp_path: Path) -> None:
    write(tmp_path / "train", "abc")
    write(tmp_path / "val", "acd")
    with pytest.raises(UserError, match="must hold the same classes"):
        make().test_dataloader()


def test_only_three_channels(make) -> None:
    with pytest.raises(UserError, match=r"dataset.channels is 1; expected 3, as in the data"):
        make(channels=1)


def test_strong_augmentation_of_files(make, root: Path, finished) -> None:
    """The transforms follow the crop, and batches have what mixing needs; other images stay as they are."""
    options = {"rand_augment": None, "erasing": 1.0, "mixup": 0.8, "cutmix": 1.0, "cutmix_probability": 0.5}
    data, plain = make(augmentation=options), make()
    images, classes = finished(data, data.train_dataloader())[0]
    assert images.shape == (4, 3, 28, 28) and classes.shape == (4, 3)
    torch.testing.assert_close(classes.sum(1), torch.ones(4))
    assert set(finished(plain, plain.train_dataloader())[0][1].shape) == {4}
    for loaders in zip(
        (data.val_dataloader(), data.test_dataloader()), (plain.val_dataloader(), plain.test_dataloader()), strict=True
    ):
        for ours, theirs in zip(*loaders, strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])

    unmixed = make(augmentation=options | {"mixup": 0, "cutmix": 0})
    erased, whole = (view.train_dataloader().dataset[0, 0][0] for view in (unmixed, plain))
    changed = (erased != whole).any(0)
    rows, columns = changed.any(1), changed.any(0)
    assert changed.any() and torch.equal(changed[rows][:, columns], torch.ones_like(changed[rows][:, columns]))
