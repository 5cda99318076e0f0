"""Runs as fixtures: `train` makes a quick one, `trained` one that tests share, `killed` one that is cut short."""

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from .programs import Outcome, lasting, metrics, name_of, once, quick


@pytest.fixture
def train(program, tmp_path) -> Callable[..., Outcome]:
    """sparseift.train with the settings of QUICK and these, in the test's folder."""
    return lambda *overrides: program("sparseift.train", quick(*overrides), tmp_path)


@pytest.fixture(scope="session")
def trained(program, shared) -> Callable[..., Path]:
    """The folder of a finished run with the settings of QUICK and these. All tests that name the same settings get the
    same folder, so they only read it."""

    def run(*overrides: str) -> Path:
        def make(folder: Path) -> None:
            folder.mkdir()
            outcome = program("sparseift.train", quick(*overrides, f"hydra.run.dir={folder}"), folder)
            (folder / "outcome.json").write_text(json.dumps(asdict(outcome)))

        folder = once(shared / "trained" / name_of(overrides), make)
        outcome = Outcome(**json.loads((folder / "outcome.json").read_text()))
        assert outcome.code == 0, outcome
        return folder

    return run


@pytest.fixture
def killed(program, tmp_path) -> Callable[..., None]:
    """Starts a run in the test's folder, which dies in `hook` after `step` optimizer steps."""

    def kill(hook: str, step: int, *overrides: str, **env: str) -> None:
        arguments = [hook, str(step), *quick(*overrides, "resume=auto", "hydra.run.dir=run")]
        assert program("killed_run", arguments, tmp_path, **env).code == -signal.SIGKILL
        assert not (tmp_path / "run/results.json").exists()

    return kill


@pytest.fixture
def finish(train, tmp_path) -> Callable[..., list[int]]:
    """Resumes the run in the test's folder and lets it end as the uninterrupted one; the epochs that it trained."""

    def resume(reference: Path, *overrides: str) -> list[int]:
        outcome = train(*overrides, "resume=auto", "hydra.run.dir=run")
        assert outcome.code == 0, outcome
        assert lasting(tmp_path / "run") == lasting(reference)
        assert metrics(tmp_path / "run") == metrics(reference)
        lines = [line for line in outcome.out.splitlines() if line.startswith("epoch ")]
        return [int(line.split()[1].partition("/")[0]) for line in lines]

    return resume
