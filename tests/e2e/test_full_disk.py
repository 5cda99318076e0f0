"""A disk that is full when a checkpoint is to be written."""

import os
import subprocess
from pathlib import Path

import pytest

from .programs import checkpoint, files, lasting, quick

COMMON = ("model._target_=tiny_nets.dropout", "model.base_width=8")  # 87 kB a checkpoint


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


@pytest.fixture
def train(program, tmp_path, small_disk):
    def run(epochs: int):
        overrides = quick(*COMMON, f"recipe.epochs={epochs}", "resume=auto", "hydra.run.dir=disk/run")
        return program("sparseift.train", overrides, tmp_path)

    return run


def test_the_last_checkpoint_survives(train, small_disk) -> None:
    assert train(epochs=1).code == 0
    filler, whole = small_disk / "filler", files(small_disk / "run/checkpoints")
    filler.write_bytes(bytes(free(small_disk) - 48 * 1024))
    full = train(epochs=2)
    assert full.code == 2, full
    assert "ckpt can't be written: No space left on device; the previous checkpoint is intact" in full.err
    assert "No space left on device" in (small_disk / "run/error.txt").read_text()
    assert files(small_disk / "run/checkpoints") == whole
    assert checkpoint(small_disk / "run")["global_step"] == 10

    filler.unlink()
    assert train(epochs=2).code == 0
    assert lasting(small_disk / "run")["steps"] == 20
    assert "error.txt" not in files(small_disk / "run")


def test_not_a_byte_is_left(train, small_disk) -> None:
    assert train(epochs=1).code == 0
    config = (small_disk / "run/.hydra/config.yaml").read_text()
    (small_disk / "run/results.json").unlink()
    (small_disk / "filler").write_bytes(bytes(free(small_disk)))
    full = train(epochs=2)
    assert full.code == 2, full
    assert full.err.splitlines()[-1] == "sparseift: [Errno 28] No space left on device"
    assert (small_disk / "run/.hydra/config.yaml").read_text() == config
    assert checkpoint(small_disk / "run")["global_step"] == 10


def free(disk: Path) -> int:
    return os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
