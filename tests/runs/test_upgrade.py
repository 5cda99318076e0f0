"""Files and settings of version 1 are read as those of the current version."""

import json
from pathlib import Path

import pytest
import yaml

from sparseift.runs.read import FINISHED, UNREADABLE, flat, read_run
from sparseift.runs.schema import VERSION
from sparseift.runs.upgrade import upgraded, upgraded_results

from ..report.folders import config_of, results_of, write_run

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "docs/evidence/resnet18/runs/sparse_wide_0.75_rigl_seed0"
OLD = results_of("sparse_wide", 0.9, 0, 0.75, "rigl")


def test_results_of_version_1_are_of_classification_with_masked_single_weights() -> None:
    new = upgraded_results(OLD)
    assert {key: new[key] for key in OLD} == OLD
    names = ("version", "task", "sparsifier", "pattern", "backend")
    assert [new[name] for name in names] == [VERSION, "classification", "rigl", "unstructured", "masked"]
    assert [(metric["name"], metric["unit"]) for metric in new["metrics"]] == [("acc1", "%"), ("acc5", "%")]
    assert upgraded_results(new) is new


def test_runs_that_are_kept_are_read() -> None:
    run = read_run(EVIDENCE)
    assert (run.state, run.metric.label) == (FINISHED, "top-1") and run.score == pytest.approx(89.42, abs=0.01)


@pytest.mark.parametrize(("old", "pattern"), [("rigl_nm", "n_of_m"), ("rigl_block", "block")])
def test_sparsifiers_with_a_pattern_are_two_choices(old, pattern) -> None:
    new = upgraded_results(OLD | {"sparsifier": old})
    assert (new["sparsifier"], new["pattern"]) == ("rigl", pattern)
    saved = upgraded({"sparsifier": old, "sparsifier._target_": "RigL", "sparsifier.pattern.size": 4})
    assert (saved["sparsifier"], saved["pattern"]) == ("rigl", pattern)
    assert {key for key in saved if key.startswith(("pattern.", "sparsifier."))} == {
        "pattern.size",
        "sparsifier._target_",
    }


def test_a_newer_version_is_unreadable(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", change={"version": VERSION + 1}))
    assert run.state == UNREADABLE
    reason = f"version is {VERSION + 1}; expected at most {VERSION}; a newer version of sparseift wrote the file"
    assert run.detail == f"results.json is not valid: {reason}"


@pytest.mark.parametrize("version", ["2", None, True, 1.5])
def test_a_version_that_is_no_integer_is_unreadable(tmp_path: Path, version) -> None:
    run = read_run(write_run(tmp_path / "a", change={"version": version}))
    assert run.state == UNREADABLE


def test_a_config_of_version_1_has_the_groups_of_this_one() -> None:
    config = flat(config_of(OLD))
    new = upgraded(config)
    assert {key: new[key] for key in config} == config
    added = new.keys() - config.keys()
    assert new["sparsity.budget"] == "layers"
    groups = {key.partition(".")[0] for key in added - {"sparsity.budget"}}
    assert groups == {"task", "pattern", "backend"} and "task" not in new
    assert upgraded(new) == new


@pytest.mark.parametrize("choice", ["task/classification", "pattern/unstructured", "backend/masked"])
def test_the_groups_are_as_in_conf(choice) -> None:
    """Old and new runs of the same settings are compared by these keys."""
    group = choice.partition("/")[0]
    settings = flat({group: yaml.safe_load((ROOT / f"conf/{choice}.yaml").read_text())})
    added = {key: value for key, value in upgraded({}).items() if key.startswith(f"{group}.")}
    assert settings == added


def test_settings_of_a_checkpoint_take_the_groups_of_those_they_are_compared_with() -> None:
    wanted = {"task": "classification", "pattern": "unstructured", "sparsifier": "rigl", "seed": 0}
    wanted |= {"task.size": 8, "pattern._target_": "Unstructured", "sparsifier._target_": "RigL"}
    saved = {"sparsifier": "rigl", "seed": 0, "sparsifier._target_": "RigL"}
    assert upgraded(saved, like=wanted) == wanted
    other = upgraded(saved, like=wanted | {"task": "regression", "pattern": "block"})
    assert (other["task"], other["pattern"]) == ("classification", "unstructured")


def test_locks_and_unfinished_files_do_not_disturb(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    for name in (".lock", "results.lock", "results.partial", "checkpoints.lock"):
        (folder / name).write_text("")
    assert read_run(folder).state == FINISHED
    assert json.loads((folder / "results.json").read_text())["seed"] == 0


@pytest.mark.parametrize("node", ["sparsifier", "sparsifier.then"])
@pytest.mark.parametrize(
    ("optimizer", "like", "expected"),
    [
        ("torch.optim.AdamW", None, "new"),
        ("torch.optim.AdamW", "matched", "new"),
        ("torch.optim.SGD", None, "matched"),
        ("torch.optim.SGD", "new", "new"),
        ("torch.optim.SGD", "matched", "matched"),
    ],
)
def test_weights_grew_with_the_state_of_new_parameters(node, optimizer, like, expected) -> None:
    """Under SGD, this is the same as what the present settings say, whatever that is."""
    key, settings = f"{node}.grown_state", {f"{node}.drop_fraction": 0.3, "recipe.optimizer._target_": optimizer}
    assert upgraded(settings, {key: like} if like else None)[key] == expected
    assert upgraded({**settings, key: "kept"}, {key: like} if like else None)[key] == "kept"
    assert key not in upgraded(settings, {f"{node}.drop_fraction": 0.3}), "a sparsifier without the option"
