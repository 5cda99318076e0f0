"""No checkpoint runs code when it is read: not the checkpoint of a run, and not one that a user names."""

import ast
import os
from pathlib import Path

import pytest
import torch

import sparseift

from .programs import files, quick

PACKAGE = Path(sparseift.__file__).parent


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def bomb(tmp_path) -> Path:
    path = tmp_path / "run/checkpoints/last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {}, "settings": Bomb(tmp_path / "exploded")}, path)
    return path


def test_it_would_explode(bomb, tmp_path) -> None:
    torch.load(bomb, weights_only=False)
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("resume", ["resume=run", "resume=run/checkpoints/last.ckpt"])
def test_a_checkpoint_that_runs_code_is_refused(program, bomb, tmp_path, resume) -> None:
    outcome = program("sparseift.train", quick(resume, "hydra.run.dir=mine"), tmp_path)
    assert "last.ckpt is not a checkpoint: it holds more than tensors and plain values" in outcome.mistake()
    assert not (tmp_path / "exploded").exists() and not any("mine/" in name for name in files(tmp_path))


def test_export_refuses_it_too(program, bomb, tmp_path) -> None:
    outcome = program("sparseift.export", ["run"], tmp_path)
    assert outcome.code == 2 and not (tmp_path / "exploded").exists()


def test_every_load_says_so() -> None:
    calls = [
        (path.name, call)
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("torch.load", "parts.trainer.fit")
    ]
    assert len(calls) >= 3
    for name, call in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("weights_only") == "True", name
