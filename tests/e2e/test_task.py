"""A task in a user's own files is trained, killed, resumed and reported on: nothing of the package knows it."""

import math
from pathlib import Path

import pytest
import torch

from .programs import Outcome, checkpoint, lasting, metrics, results

USERS = ("--config-dir", str(Path(__file__).parent / "toy"), "dataset=lines", "model=toy", "trainer=cpu")
QUICK = ("recipe.epochs=1", "export=false")
MOVING = (*QUICK, "sparsifier.update_interval=4")

# 10 steps an epoch; masks move in steps 4, 8, ..., 20; checkpoints after steps 3, 6, 9, 10, ...
RIGL = (
    "recipe.epochs=3",
    "recipe.optimizer.lr=0.02",
    "checkpoint.every_n_steps=3",
    "sparsifier.update_interval=4",
)


@pytest.fixture
def start(program, tmp_path):
    def run(folder: str, *more: str, module: str = "sparseift.train", before: tuple[str, ...] = ()) -> Outcome:
        return program(module, [*before, *USERS, f"hydra.run.dir={folder}", *more], tmp_path)

    return run


@pytest.fixture
def whole(start, tmp_path) -> Path:
    outcome = start("whole", *RIGL)
    assert outcome.code == 0, outcome
    assert "epoch 3/3" in outcome.out and "val/mae" in outcome.out
    return tmp_path / "whole"


def test_results_have_the_metrics_of_the_task(whole: Path) -> None:
    found = results(whole)
    described = {"name": "mae", "label": "mean absolute error", "unit": "mm", "higher_is_better": False}
    assert (found["task"], found["metrics"]) == ("regression", [described])
    assert found["test"].keys() == found["val"].keys() == {"loss", "mae"}
    assert 0 < found["test"]["mae"] < 1 and math.isfinite(found["test"]["loss"])
    assert found["flops"]["ratio"] == pytest.approx(1, abs=0.01) and found["masks_sha256"]


def test_the_lowest_error_selects_the_best_checkpoint(start, tmp_path: Path) -> None:
    outcome = start("run", "model._target_=toy_task.Forgetful", "recipe.epochs=4", "sparsifier=static", "export=false")
    assert outcome.code == 0, outcome
    errors = [float(row["val/mae"]) for row in metrics(tmp_path / "run") if "val/mae" in row][:4]
    assert errors[0] < errors[-1]
    best = checkpoint(tmp_path / "run", "best")
    assert best["global_step"] == 10 * (1 + errors.index(min(errors)))
    assert best["callbacks"]["Checkpoint"]["best"] == min(errors)
    assert set(best["train_means"]) == {"loss_epoch", "mae"}


def test_reports_have_its_label_and_direction(whole: Path, start, program, tmp_path: Path) -> None:
    report = program("sparseift.report", ["whole", "--out", "report"], tmp_path)
    assert report.code == 0, report
    page = (tmp_path / "report/report.md").read_text()
    assert "mean absolute error" in page and "mm" in page and "Lower is better" in page and "top-1" not in page
    assert start("other", "seed=1", *RIGL, "export=false").code == 0
    compared = program("sparseift.compare", ["whole", "other"], tmp_path)
    assert compared.code == 0 and "top-1" not in compared.out, compared
    verdict = compared.out.splitlines()[-1]
    assert verdict.startswith("test mean absolute error, B - A: ") and "mm (lower is better)" in verdict


def test_export_takes_its_inputs(whole: Path) -> None:
    exported = torch.export.load(whole / "model.pt2").module()
    assert exported(torch.randn(5, 12), scale=torch.zeros(5, 1))["prediction"].shape == (5, 1)


@pytest.mark.parametrize(("hook", "step"), [("on_before_optimizer_step", 7), ("on_train_batch_start", 14)])
def test_a_killed_run_resumes_to_the_bit(whole: Path, start, tmp_path: Path, hook: str, step: int) -> None:
    assert start("run", *RIGL, module="killed_run", before=(hook, str(step))).code == -9
    outcome = start("run", *RIGL, "resume=auto")
    assert outcome.code == 0, outcome
    assert lasting(tmp_path / "run") == lasting(whole)
    assert metrics(tmp_path / "run") == metrics(whole)


def test_sparsifiers_that_score_by_the_loss(start) -> None:
    outcome = start("snip", "sparsifier=snip", *QUICK)
    assert outcome.code == 0, outcome
    for sparsifier in ("grasp", "synflow"):
        refused = start(sparsifier, f"sparsifier={sparsifier}", *QUICK)
        assert refused.code == 2 and "needs a network whose output is a tensor, not dict" in refused.err, refused


def test_a_data_module_that_is_all_the_users(start) -> None:
    outcome = start("run", "dataset._target_=toy_task.Plain", "~dataset.val_size", "checkpoint.test=best", *MOVING)
    assert outcome.code == 0, outcome


def test_profile(program, tmp_path: Path) -> None:
    outcome = program("sparseift.profile", USERS, tmp_path)
    assert outcome.code == 0 and "hidden" in outcome.out, outcome
