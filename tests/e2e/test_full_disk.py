"""A disk that is full when a checkpoint is to be written."""

import os
import subprocess

import pytest

from .programs import checkpoint, files, lasting, quick

COMMON = ("model._target_=tiny_nets.dropout",)


@pytest.fixture
def small_disk(tmp_path):
    """Three megabytes at tmp_path/disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a disk can't be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_the_last_checkpoint_survives(program, trained, tmp_path, small_disk) -> None:
    def train(epochs: int):
        overrides = quick(*COMMON, f"recipe.epochs={epochs}", "resume=auto", "hydra.run.dir=disk/run")
        return program("sparseift.train", overrides, tmp_path)

    assert train(epochs=1).code == 0
    filler, whole = small_disk / "filler", files(small_disk / "run/checkpoints")
    filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 48 * 1024))
    full = train(epochs=2)
    assert full.code == 2, full
    assert "ckpt can't be written: no space is left on the disk; the one before it is whole" in full.err
    assert "no space is left on the disk" in (small_disk / "run/error.txt").read_text()
    assert files(small_disk / "run/checkpoints") == whole
    assert checkpoint(small_disk / "run")["global_step"] == 10

    filler.unlink()
    assert train(epochs=2).code == 0
    assert lasting(small_disk / "run")["steps"] == 20
    assert "error.txt" not in files(small_disk / "run")
