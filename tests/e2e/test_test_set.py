"""The test set is read once, before training, to be checked; nothing but the test metrics depends on it."""

import hashlib
import shutil

import pytest

from .programs import checkpoint, lasting, metrics, quick, results, saved_masks

SETTINGS = (
    "model._target_=tiny_nets.forgetful",
    "recipe.epochs=3",
    "recipe.optimizer.lr=0.5",
    "sparsifier.update_interval=2",
    "sparsifier.end=1.0",
)


@pytest.mark.parametrize(("net", "which"), [("dropout", "last"), ("forgetful", "best")])
def test_poisoned_labels_change_the_test_metrics_alone(program, trained, tmp_path, net: str, which: str) -> None:
    settings = (f"model._target_=tiny_nets.{net}", *SETTINGS[1:], f"checkpoint.test={which}")
    assert program("poisoned_run", quick(*settings, "hydra.run.dir=run"), tmp_path).code == 0
    assert (tmp_path / "loads.txt").read_text().splitlines() == ["training set-up", "test set-up"]
    poisoned, clean = lasting(tmp_path / "run"), lasting(trained(*settings))
    assert poisoned.pop("test") != clean.pop("test")
    assert poisoned == clean


def test_validation_images_are_held_out_by_default(trained) -> None:
    """200 images validate: accuracies are multiples of 1/200, those of the 359 test images are not."""
    run = results(trained(*SETTINGS))
    assert run["val"]["acc1"] * 200 == pytest.approx(round(run["val"]["acc1"] * 200), abs=1e-4)
    assert run["test"]["acc1"] * 359 == pytest.approx(round(run["test"]["acc1"] * 359), abs=1e-4)


def test_last_and_best(trained) -> None:
    """checkpoint.test says which weights, and which masks, the results are of."""
    last, best = trained(*SETTINGS), trained(*SETTINGS, "checkpoint.test=best")
    accuracies = [float(row["val/acc1"]) for row in metrics(last) if "val/acc1" in row][:3]
    assert accuracies.index(max(accuracies)) < 2
    assert checkpoint(last, "best")["global_step"] == 10 * (accuracies.index(max(accuracies)) + 1)
    assert results(last)["val"]["acc1"] == pytest.approx(accuracies[-1])
    assert results(best)["val"]["acc1"] == pytest.approx(max(accuracies))
    assert results(last)["weights_sha256"] != results(best)["weights_sha256"]


def test_the_masks_of_the_results_are_those_of_their_weights(trained) -> None:
    folder = trained(*SETTINGS, "checkpoint.test=best")
    bits = [name.encode() + mask.numpy().tobytes() for name, mask in saved_masks(folder, "best").items()]
    assert results(folder)["masks_sha256"] == hashlib.sha256(b"".join(bits)).hexdigest()


def test_going_back_to_the_best_weights_takes_no_training_back(trained) -> None:
    last, best = trained(*SETTINGS), trained(*SETTINGS, "checkpoint.test=best")
    assert results(best)["flops"]["train_total"] == results(last)["flops"]["train_total"]
    assert (results(best)["steps"], results(best)["epochs"]) == (30, 3)
    trained_rows = [row for row in metrics(last) if "train/loss" in row or "masks/replaced" in row]
    assert [row for row in metrics(best) if "train/loss" in row or "masks/replaced" in row] == trained_rows


def test_without_validation_there_is_no_best(train, trained) -> None:
    told = train(*SETTINGS, "dataset.val_size=0", "checkpoint.test=best").mistake()
    assert "dataset.val_size" in told
    folder = trained(*SETTINGS, "dataset.val_size=0")
    assert results(folder)["val"] == {} and not (folder / "checkpoints/best.ckpt").exists()


def test_best_weights_are_there_after_a_resume_elsewhere(trained, train, tmp_path) -> None:
    settings = (*SETTINGS, "checkpoint.test=best")
    shutil.copytree(trained(*settings), tmp_path / "run")
    outcome = train(*settings, "resume=run", "hydra.run.dir=other")
    assert outcome.code == 0, outcome
    assert lasting(tmp_path / "other") == lasting(trained(*settings))
