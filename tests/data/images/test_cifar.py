"""CIFAR from files in its python and its binary format, and what is said where they are missing."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from sparseift.data.images.cifar import Cifar10, Cifar100
from sparseift.errors import UserError

CIFARS = pytest.mark.parametrize("kind", [Cifar10, Cifar100])
PIXELS = np.random.default_rng(0).integers(0, 256, (26, 3 * 32 * 32), dtype=np.uint8)
LABELS = [i % 4 for i in range(26)]


@pytest.fixture
def make(settings, tmp_path: Path):
    def build(kind: type[Cifar10], **changes) -> Cifar10:
        sizes = {"num_classes": 4, "channels": 3, "image_size": 32, "batch_size": 10, "val_size": 4}
        return kind(**settings(root=str(tmp_path), download=False, **sizes) | changes)

    return build


def write(kind: type[Cifar10], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two training files of 10 images, one test file of 6; their checksums replace the class's own."""
    folder = root / kind.source.base_folder
    folder.mkdir()

    def dump(name: str, content: dict) -> list[str]:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    key = "labels" if kind is Cifar10 else "fine_labels"
    parts = {"a": slice(0, 10), "b": slice(10, 20), "t": slice(20, 26)}
    lists = [dump(name, {"data": PIXELS[part], key: LABELS[part]}) for name, part in parts.items()]
    names, md5 = dump("names", {kind.source.meta["key"]: list("wxyz")})
    monkeypatch.setattr(kind.source, "train_list", lists[:2])
    monkeypatch.setattr(kind.source, "test_list", lists[2:])
    monkeypatch.setattr(kind.source, "meta", kind.source.meta | {"filename": names, "md5": md5})


@CIFARS
def test_reads_files_in_the_python_format(kind, make, tmp_path: Path, monkeypatch) -> None:
    write(kind, tmp_path, monkeypatch)
    data = make(kind)
    [(images, targets)] = data.test_dataloader()
    assert torch.equal(images, torch.from_numpy(PIXELS[20:]).view(6, 3, 32, 32))
    assert targets.tolist() == LABELS[20:]
    assert [len(data.train_dataloader().dataset), len(data.val_dataloader().dataset)] == [16, 4]


def write_binary(kind: type[Cifar10], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images in the binary format: two training files for CIFAR-10, one for CIFAR-100, which also has a
    superclass before the class."""
    (root / kind.binary.folder).mkdir()

    def dump(name: str, part: slice) -> dict[str, str]:
        coarse = b"" if kind is Cifar10 else b"\x13"
        labelled = zip(LABELS[part], PIXELS[part], strict=True)
        data = b"".join(coarse + bytes([label]) + pixels.tobytes() for label, pixels in labelled)
        (root / kind.binary.folder / name).write_bytes(data)
        return {name: hashlib.md5(data).hexdigest()}

    parts = (slice(0, 10), slice(10, 20)) if kind is Cifar10 else (slice(0, 20),)
    train = {}
    for name, part in zip(kind.binary.train, parts, strict=False):
        train |= dump(name, part)
    [test] = kind.binary.test
    monkeypatch.setattr(kind, "binary", replace(kind.binary, train=train, test=dump(test, slice(20, 26))))


@CIFARS
def test_reads_files_in_the_binary_format(kind, make, tmp_path: Path, monkeypatch) -> None:
    write_binary(kind, tmp_path, monkeypatch)
    data = make(kind, download=True)  # of which there is no need
    data.prepare_data()
    [(images, targets)] = data.test_dataloader()
    assert torch.equal(images, torch.from_numpy(PIXELS[20:]).view(6, 3, 32, 32))
    assert targets.tolist() == LABELS[20:]
    held_out, trained_on = data.val_dataloader().dataset, data.train_dataloader().dataset
    assert [len(trained_on), len(held_out)] == [16, 4]


@CIFARS
@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_binary_files_are_checked(kind, make, tmp_path: Path, monkeypatch, harm: str) -> None:
    write_binary(kind, tmp_path, monkeypatch)
    file = tmp_path / kind.binary.folder / next(iter(kind.binary.train))
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(b"\0" + file.read_bytes()[1:-1] + b"\0")
    with pytest.raises(UserError, match=rf"^{file} is {harm}; unpack {kind.binary.folder} again$"):
        make(kind).train_dataloader()


@CIFARS
def test_damaged_files_are_refused(kind, make, tmp_path: Path, monkeypatch) -> None:
    write(kind, tmp_path, monkeypatch)
    (tmp_path / kind.source.base_folder / "b").write_bytes(b"")
    with pytest.raises(UserError, match=r"^no complete folder cifar-10+(-batches-py|-python) in /"):
        make(kind).train_dataloader()


@CIFARS
def test_missing_files_are_explained(kind, make, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        make(kind).prepare_data()
    message = str(refusal.value)
    assert "\n" not in message
    for part in (str(tmp_path), "dataset.download=true", "https://www.cs.toronto.edu/~kriz/cifar.html"):
        assert part in message


@pytest.mark.parametrize("failure", [URLError("no\nname"), RuntimeError("File not found or corrupted."), EOFError()])
def test_a_failed_download_is_explained(make, tmp_path: Path, monkeypatch, failure: Exception) -> None:
    def fail(url, root, **kwargs):
        Path(root).mkdir(parents=True, exist_ok=True)
        raise failure

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(UserError) as refusal:
        make(Cifar100, root=f"{tmp_path}/new/folder", download=True).prepare_data()
    assert not list(tmp_path.iterdir())
    message = str(refusal.value)
    assert message.startswith(f"CIFAR100 is not in {tmp_path}/new/folder and cannot be downloaded (")
    assert message.endswith("unpack cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html there")
    assert "\n" not in message


def test_nothing_is_downloaded_unasked_or_again(make, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        torchvision.datasets.cifar, "download_and_extract_archive", lambda *a, **k: pytest.fail("asked")
    )
    with pytest.raises(UserError):
        make(Cifar10).prepare_data()
    write(Cifar10, tmp_path, monkeypatch)
    make(Cifar10).prepare_data()
    make(Cifar10, download=True).prepare_data()


def test_colour_images_stay_coloured(make, tmp_path: Path, monkeypatch) -> None:
    write(Cifar10, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"dataset.channels is 1; expected 3, as in the data"):
        make(Cifar10, channels=1).train_dataloader()
