"""idx files, gzipped or not, whole or damaged; where Fashion-MNIST looks for them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import FashionMNIST

from sparseift.data.images.fashion_mnist import FashionMnist, read_idx
from sparseift.errors import UserError

ARRAY = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, suffix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", ARRAY), ("labels-idx1", LABELS)):
            content = idx(array if part == "train" else array[::-1])
            (folder / f"{part}-{name}-ubyte{suffix}").write_bytes(gzip.compress(content) if suffix else content)


@pytest.fixture
def make(settings, tmp_path: Path):
    sizes = {"num_classes": 10, "image_size": 28, "batch_size": 10, "val_size": 0}
    return lambda **changes: FashionMnist(**settings(root=str(tmp_path), download=False, **sizes) | changes)


@pytest.mark.parametrize("folder", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_the_standard_files(make, tmp_path: Path, folder: str, suffix: str) -> None:
    write(tmp_path / folder, suffix)
    data = make()
    images, targets = (torch.cat(parts) for parts in zip(*data.test_dataloader(), strict=True))
    assert torch.equal(images, torch.from_numpy(ARRAY[::-1].copy()).unsqueeze(1))
    assert targets.tolist() == LABELS[::-1].tolist()
    assert torch.equal(data.load(train=True).images[:, 0], torch.from_numpy(ARRAY))


def test_missing_files_are_explained(make, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        make().prepare_data()
    message = str(refusal.value)
    assert message.startswith(f"no train-images-idx3-ubyte[.gz] in {tmp_path}")
    assert "dataset-fashion-mnist" in message
    assert "dataset.download=true" in message
    assert "\n" not in message


def test_downloads_only_what_is_missing(make, tmp_path: Path, monkeypatch) -> None:
    def fail(self) -> None:
        raise RuntimeError("Error downloading\ntrain-images-idx3-ubyte.gz")

    monkeypatch.setattr(FashionMNIST, "download", fail)
    with pytest.raises(UserError, match=r"^Fashion-MNIST is not in .* cannot be downloaded \(Error downloading train-"):
        make(download=True).prepare_data()
    write(tmp_path, ".gz")
    make(download=True).prepare_data()


def test_labels_must_match_images(make, tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:19]))
    with pytest.raises(UserError, match=r"shape \(20, 28, 28\), its labels have \(19,\)"):
        make().train_dataloader()


@pytest.mark.parametrize(
    ("content", "suffix", "complaint"),
    [
        (idx(ARRAY)[:-1], "", "has 15679 values; expected 15680"),
        (idx(ARRAY) + b"\0", "", "has 15681 values; expected 15680"),
        (idx(ARRAY)[:9], "", "is not an idx file of unsigned bytes"),
        (b"", "", "is not an idx file of unsigned bytes: it starts with nothing"),
        (b"\0\0\x0d" + idx(ARRAY)[3:], "", "is not an idx file of unsigned bytes: it starts with 00000d03"),
        (b"<html>", ".gz", "is damaged"),
        (gzip.compress(idx(ARRAY))[:-100], ".gz", "is damaged"),
        (gzip.compress(idx(ARRAY))[:100] + b"?" * 99, ".gz", "is damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, suffix: str, complaint: str) -> None:
    path = tmp_path / f"some-file{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as refusal:
        read_idx(path)
    assert str(refusal.value).startswith(f"{path} {complaint}")
