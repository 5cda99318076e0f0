"""Runs that earlier versions have written are resumed, recognized as finished, and reported on.

tests/fixtures/version_1 holds runs from before the config groups pattern, task and backend.
"""

import json
import shutil
from pathlib import Path

import pytest

from .programs import checkpoint, metrics, results

OLD = Path(__file__).parents[1] / "fixtures" / "version_1"
HALF_DONE = json.loads((OLD / "half_done.json").read_text())
BUDGET = "sparsity.budget=layers"
EVIDENCE = Path(__file__).parents[2] / "docs" / "evidence" / "resnet18" / "runs"


@pytest.fixture
def half_done(tmp_path) -> Path:
    shutil.copytree(OLD / "half_done", tmp_path / "run")
    return tmp_path / "run"


def resume(program, folder: Path, *overrides: str):
    arguments = [*HALF_DONE["overrides"], BUDGET, *overrides, "resume=auto", "hydra.run.dir=run"]
    return program("sparseift.train", arguments, folder)


def test_a_half_done_run_is_resumed_to_its_end(program, half_done, tmp_path) -> None:
    outcome = resume(program, tmp_path)
    assert outcome.code == 0 and outcome.err == "", outcome
    assert "epoch 1/3" not in outcome.out and "epoch 3/3" in outcome.out
    run = results(half_done)
    assert run["steps"] == HALF_DONE["steps"]
    assert [float(row["epoch"]) for row in metrics(half_done) if "val/loss" in row][:3] == [0, 1, 2]
    assert checkpoint(half_done)["settings"]["pattern"] == "unstructured"
    finished = results(OLD / "finished" / "sparse_wide")  # the same network after fewer epochs
    assert run["params"] == finished["params"] and run["layers"] == finished["layers"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("sparsifier.update_interval=5", "sparsifier.update_interval=4; this run has sparsifier.update_interval=5"),
        ("sparsity.budget=total", "sparsity.budget=layers; this run has sparsity.budget=total"),
        ("model.base_width=2", "model.base_width=1; this run has model.base_width=2"),
    ],
)
def test_other_settings_are_refused(program, half_done, tmp_path, override: str, told: str) -> None:
    assert told in resume(program, tmp_path, override).mistake()


@pytest.mark.parametrize("name", ["dense", "sparse_wide"])
def test_a_finished_run_is_recognized(program, tmp_path, name: str) -> None:
    shutil.copytree(OLD / "finished" / name, tmp_path / "run")
    before = results(tmp_path / "run")
    overrides = (OLD / "finished" / name / ".hydra/overrides.yaml").read_text().replace("- ", "").split()
    outcome = program("sparseift.train", [*overrides, BUDGET, "resume=auto", "hydra.run.dir=run"], tmp_path)
    assert (outcome.code, outcome.out) == (0, f"already finished: {tmp_path / 'run' / 'results.json'}\n"), outcome
    assert results(tmp_path / "run") == before


def test_a_report_on_runs_of_every_version(program, tmp_path) -> None:
    shutil.copytree(OLD, tmp_path / "runs")
    outcome = program("sparseift.report", ["runs", str(EVIDENCE)], tmp_path)
    assert outcome.code == 0 and outcome.err == "", outcome
    count = len(list(EVIDENCE.glob("*/results.json")))
    assert f"{count + 3} run folders: {count + 2} finished" in outcome.out
    assert "unfinished, 1 of 3 epochs trained" in outcome.out
