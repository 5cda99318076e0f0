"""The programs as fixtures: `program` runs any of them, `train` a quick run, `trained` one that tests share."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from .programs import Outcome, Zygote, name_of, once, quick


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("logs"))
    yield zygote
    zygote.close()


@pytest.fixture
def train(program, tmp_path) -> Callable[..., Outcome]:
    """sparseift.train with the settings of QUICK and these, in the test's folder."""
    return lambda *overrides: program("sparseift.train", quick(*overrides), tmp_path)


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Path:
    """A folder that all workers of this test session see."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


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
