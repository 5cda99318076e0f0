"""Damage to any byte of a checkpoint is noticed, or the same is loaded; and files that are not checkpoints."""

import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch

from sparseift.errors import Damaged, UserError
from sparseift.training.checkpoints.codec import read_checkpoint
from sparseift.training.checkpoints.files import PARTS, find_checkpoint, problem, settings_in
from sparseift.training.checkpoints.integrity import SEAL, damage, save_sealed

CONTENT = {"state_dict": {"net.a": torch.arange(5.0), "net.b": torch.ones(3, dtype=torch.uint8)}, "epoch": 3}
PAGE = 4096


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "last.ckpt"
    with path.open("w+b") as file:
        save_sealed(CONTENT, file)
    return path


def same(loaded: dict) -> bool:
    tensors = loaded["state_dict"]
    return loaded["epoch"] == 3 and all(torch.equal(tensors[name], CONTENT["state_dict"][name]) for name in tensors)


def test_any_program_reads_the_file(path: Path) -> None:
    assert damage(path) is None
    for options in ({}, {"mmap": True}):
        assert same(torch.load(path, weights_only=True, **options))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and archive.comment.startswith(b"sparseift crc32 ")


def test_every_bit(path: Path) -> None:
    """Only bits of the tag of the checksum may change unnoticed: the file is then checked record by record."""
    content = bytearray(path.read_bytes())
    unnoticed = []
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(content)):
            file.seek(bit // 8)
            file.write(bytes([content[bit // 8] ^ 1 << bit % 8]))
            if damage(path) is None:
                unnoticed.append(bit // 8)
                assert same(read_checkpoint(path))
            file.seek(bit // 8)
            file.write(content[bit // 8 : bit // 8 + 1])
    assert unnoticed and min(unnoticed) >= len(content) - SEAL


def test_every_length(path: Path) -> None:
    """Without a part of the checksum, but nothing else, the file is checked record by record."""
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if length < len(content) - SEAL:
            with pytest.raises(Damaged, match="is damaged or not a checkpoint"):
                read_checkpoint(path)
        else:
            assert same(read_checkpoint(path))


@pytest.mark.parametrize("sealed", [True, False])
def test_zeroed_pages(tmp_path, sealed: bool) -> None:
    path = tmp_path / "large.ckpt"
    with path.open("w+b") as file:
        (save_sealed if sealed else torch.save)({"weight": torch.rand(9000)}, file)
    content = path.read_bytes()
    for start in range(0, len(content), PAGE):
        end = min(start + PAGE, len(content))
        path.write_bytes(content[:start] + bytes(end - start) + content[end:])
        assert damage(path)


def test_a_file_of_version_0_1_is_checked_by_its_records(tmp_path) -> None:
    path, chance = tmp_path / "old.ckpt", random.Random(0)
    torch.save(CONTENT | {"weight": torch.rand(3000)}, path)
    assert damage(path) is None
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        weight = max(archive.infolist(), key=lambda record: record.file_size)
    for _ in range(50):
        place = weight.header_offset + 200 + chance.randrange(weight.file_size - 200)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        assert f"the checksum of {weight.filename} differs" in str(damage(path))


def not_a_checkpoint(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(CONTENT["epoch"]))
    elif kind == "torch.save of before 2020":
        torch.save(CONTENT, path, _use_new_zipfile_serialization=False)
    elif kind == "objects":
        torch.save({"path": Path()}, path)
    else:
        torch.save(torch.ones(3), path)


KINDS = ("folder", "FIFO", "empty", "pickle", "torch.save of before 2020", "objects", "a tensor")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_checkpoint(tmp_path, kind: str) -> None:
    path = tmp_path / "other.ckpt"
    not_a_checkpoint(path, kind)
    for function in (find_checkpoint, read_checkpoint, settings_in):
        with pytest.raises(UserError) as told:
            function(path)
        assert str(path) in str(told.value) and "\n" not in str(told.value)
    assert problem(path)


@pytest.mark.parametrize("lacks", PARTS, ids=".".join)
def test_a_checkpoint_without_a_part(tmp_path, lacks: tuple[str, ...]) -> None:
    """A plain state dict, or a checkpoint of another program."""
    path, content = tmp_path / "other.ckpt", {}
    for part in PARTS:
        inner = content
        for key in part:
            inner = inner.setdefault(key, {})
    torch.save(content, path)
    assert settings_in(path) == {}
    inner = content
    for key in lacks[:-1]:
        inner = inner[key]
    del inner[lacks[-1]]
    torch.save(content, path)
    with pytest.raises(UserError, match=f"has no {lacks[-1]}; expected a checkpoint that sparseift.train has written"):
        settings_in(path)


def test_packed_tensors_of_a_mask_that_is_not_there(tmp_path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"w": {"masked_by": "a", "values": torch.ones(1), "shape": [2]}}}, path)
    with pytest.raises(UserError, match=r"is not a checkpoint of sparseift\.train"):
        read_checkpoint(path)
