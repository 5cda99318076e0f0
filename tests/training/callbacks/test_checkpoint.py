"""Checkpoints are whole or not there at all, and the newest whole one is found."""

import io
import warnings
from pathlib import Path

import pytest
import torch

from sparseift import UserError
from sparseift.training.checkpoints import find_checkpoint
from sparseift.training.checkpoints.io import AtomicCheckpointIO


def step(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def save(path: Path, number: int) -> None:
    AtomicCheckpointIO().save_checkpoint({"global_step": number, "weight": torch.ones(1000)}, path)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run's folder with checkpoints of steps 1 (previous) and 2 (last)."""
    for number in (1, 2):
        save(tmp_path / "checkpoints/last.ckpt", number)
    return tmp_path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_the_last_but_one_stays(run) -> None:
    folder = run / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert (step(folder / "last.ckpt"), step(folder / "previous.ckpt")) == (2, 1)
    save(folder / "best.ckpt", 3)
    save(folder / "best.ckpt", 4)
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError("disk full"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_failing_write_changes_nothing(run, monkeypatch, error: BaseException, raised: type) -> None:
    def fail(content: object, file: io.BufferedWriter) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(raised):
        save(run / "checkpoints/last.ckpt", 3)
    monkeypatch.undo()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert step(find_checkpoint(run)) == 2


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/last.ckpt"])
def test_found_by_any_path(run, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert step(find_checkpoint(run / path)) == 2


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/last.ckpt"])
def test_a_truncated_one_gives_way_with_a_warning(run, path: str) -> None:
    truncate(run / "checkpoints/last.ckpt")
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged.*; using .*previous\.ckpt"):
        assert step(find_checkpoint(run / path)) == 1


def test_killed_between_the_two_renames(run) -> None:
    (run / "checkpoints/last.ckpt").unlink()
    with warnings.catch_warnings(record=True):
        assert step(find_checkpoint(run)) == 1


def test_another_name(run) -> None:
    save(run / "checkpoints/best.ckpt", 5)
    assert step(find_checkpoint(run / "checkpoints/best.ckpt")) == 5


def test_all_damaged(run) -> None:
    for name in ("last.ckpt", "previous.ckpt"):
        truncate(run / "checkpoints" / name)
    with pytest.raises(UserError, match="damaged"):
        find_checkpoint(run)


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_nothing_there(tmp_path, path: str) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        find_checkpoint(tmp_path / path)


def test_a_pickle_of_objects_is_not_taken(tmp_path) -> None:
    """Checkpoints load with weights_only=True."""
    torch.save({"global_step": 1, "path": Path()}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="not a checkpoint"):
        find_checkpoint(tmp_path)
