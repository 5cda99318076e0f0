"""Every folder is accounted for: finished, failed, half-done or not readable."""

import shlex
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from sparseift import UserError
from sparseift.runs.command import run_in
from sparseift.runs.read import FAILED, FINISHED, UNFINISHED, UNREADABLE, find_runs, flat, read_run

from ..report.folders import write_run


def test_runs_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / path) for path in ("a", "deep/er/b", "deep/c/d")]
    (tmp_path / "a/checkpoints").mkdir()
    (tmp_path / "empty").mkdir()
    found = find_runs([tmp_path, tmp_path / "a", tmp_path / "deep/../a"])
    assert sorted(run.folder for run in found) == sorted(paths)
    assert {run.state for run in found} == {FINISHED}


def test_a_run_folder_itself(tmp_path: Path) -> None:
    assert [run.folder for run in find_runs([write_run(tmp_path / "a")])] == [tmp_path / "a"]


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda path: None, "is not a folder"),
        (lambda path: path.write_text("x"), "is not a folder"),
        (lambda path: path.mkdir(), "no runs in"),
    ],
    ids=["missing", "a file", "empty"],
)
def test_nothing_to_report(tmp_path: Path, prepare, told) -> None:
    write_run(tmp_path / "good")
    prepare(tmp_path / "bad")
    with pytest.raises(UserError, match=told):
        find_runs([tmp_path / "good", tmp_path / "bad"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sparsity=2 is not in (0, 1)\n", "sparsity=2 is not in (0, 1)"),
        ('Traceback:\n  File "x.py"\nRuntimeError: out of memory\n\n', "RuntimeError: out of memory"),
        ("", "error.txt is empty"),
    ],
)
def test_failed(tmp_path: Path, text, reason) -> None:
    folder = write_run(tmp_path / "a", finished=False, epochs=0)
    (folder / "error.txt").write_text(text)
    run = read_run(folder)
    assert (run.state, run.detail) == (FAILED, f"{reason} (nothing trained)")


def test_a_run_that_failed_at_first_and_was_finished(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "error.txt").write_text("RuntimeError")
    assert read_run(folder).state == FINISHED


@pytest.mark.parametrize(
    ("epochs", "told"), [(0, "nothing trained"), (3, "3 of 4 epochs trained"), (4, "4 of 4 epochs trained")]
)
def test_half_done(tmp_path: Path, epochs, told) -> None:
    run = read_run(write_run(tmp_path / "a", finished=False, epochs=epochs))
    assert (run.state, run.detail) == (UNFINISHED, told)


def test_in_the_first_epoch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", finished=False, epochs=0)
    (folder / "metrics.csv").write_text("step,epoch,train/loss\n19,0.0,2.5\n39,0.0,2.1\n")
    assert read_run(folder).detail == "first epoch, step 39"


def damage_results(folder: Path) -> None:
    (folder / "results.json").write_text((folder / "results.json").read_text()[:100])


def foreign_results(folder: Path) -> None:
    (folder / "results.json").write_text('{"accuracy": 0.9, "test": {"acc1": 0.9}}')


def other_types(folder: Path) -> None:
    text = (folder / "results.json").read_text()
    (folder / "results.json").write_text(text.replace('"acc1": 0.9', '"acc1": "high"'))


def impossible_date(folder: Path) -> None:
    (folder / ".hydra/config.yaml").write_text("day: 2020-99-99\n")


def no_text_in_error(folder: Path) -> None:
    (folder / "results.json").unlink()
    (folder / "error.txt").mkdir()


def a_list(folder: Path) -> None:
    (folder / "results.json").write_text("[1, 2]")


def not_text(folder: Path) -> None:
    (folder / "results.json").write_bytes(b"\xff\xfe\x00")


def foreign_config(folder: Path) -> None:
    (folder / ".hydra/config.yaml").write_text("db: mysql\n")


def damaged_config(folder: Path) -> None:
    (folder / ".hydra/config.yaml").write_text("model: {a: [1, 2\n")


def foreign_hydra(folder: Path) -> None:
    (folder / ".hydra/hydra.yaml").write_text("hydra: {job: {}}\n")


def no_config(folder: Path) -> None:
    (folder / ".hydra/config.yaml").unlink()
    (folder / "results.json").unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_results, "results.json is damaged"),
        (foreign_results, "results.json is not valid: dataset is missing"),
        (other_types, "test.acc1 is 'high'; expected a finite number"),
        (a_list, "the content is [1, 2]; expected an object"),
        (not_text, "results.json is damaged"),
        (foreign_config, "not a run of sparseift"),
        (damaged_config, "config.yaml is damaged"),
        (impossible_date, "config.yaml is damaged"),
        (no_text_in_error, "error.txt cannot be read: Is a directory"),
        (foreign_hydra, "'runtime' is missing"),
        (no_config, "neither results.json nor"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unreadable(tmp_path: Path, damage, told) -> None:
    folder = write_run(tmp_path / "a")
    damage(folder)
    (run,) = find_runs([tmp_path])
    assert run.state == UNREADABLE and told in run.detail and "\n" not in run.detail


LAYER = {"name": "a", "stored": 10, "active": 5, "flops": 10}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"test": {"acc1": float("nan"), "acc5": 1}}, "test.acc1 is nan; expected a finite number"),
        ({"test": {"acc1": float("inf"), "acc5": 1}}, "test.acc1 is inf; expected a finite number"),
        ({"test": {"acc1": 10**400, "acc5": 1}}, f"test.acc1 is {10**400}; expected a finite number"),
        ({"test": {"acc1": 1}}, "test.acc5 is missing"),
        ({"test": 0.9}, "test is 0.9; expected an object"),
        ({"seed": 0.5}, "seed is 0.5; expected an integer"),
        ({"steps": 0}, "steps is 0; expected a number > 0"),
        ({"distribution": ["uniform"]}, "distribution is ['uniform']; expected a string or null"),
        ({"layers": None}, "layers is None; expected a list"),
        ({"layers": [LAYER, LAYER | {"stored": 0}]}, "layers[1].stored is 0; expected a number > 0"),
        ({"layers": [{"name": "a"}]}, "layers[0].stored is missing"),
    ],
)
def test_results_that_nothing_can_be_computed_with(tmp_path: Path, change, told) -> None:
    run = read_run(write_run(tmp_path / "a", change=change))
    assert (run.state, run.detail) == (UNREADABLE, f"results.json is not valid: {told}")


def test_runs_behind_links_and_in_folders_of_any_name(tmp_path: Path) -> None:
    write_run(tmp_path / "elsewhere/a")
    write_run(tmp_path / "here/checkpoints/b")
    (tmp_path / "here/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here/circle").symlink_to(tmp_path / "here")
    (tmp_path / "here/again").symlink_to(tmp_path / "elsewhere/a")
    found = find_runs([tmp_path / "here"])
    assert sorted(run.folder.resolve() for run in found) == [tmp_path / "elsewhere/a", tmp_path / "here/checkpoints/b"]


def test_steps_and_epochs_that_are_no_numbers(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", finished=False, epochs=0)
    (folder / "metrics.csv").write_text("step,epoch,train/loss_epoch\n9,0,0.5\nnan,1,0.6\n29,nan,0.7\n")
    run = read_run(folder)
    assert run.series("train/loss_epoch") == {9: 0.5, 29: 0.7} and run.detail == "1 of 4 epochs trained"


def test_a_finished_run_without_metrics_says_so(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", epochs=0))
    assert (run.state, run.detail) == (FINISHED, "metrics.csv has no steps")


def test_results_alone_are_a_finished_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    for path in [*(folder / ".hydra").iterdir(), folder / "metrics.csv"]:
        path.unlink()
    (folder / ".hydra").rmdir()
    (run,) = find_runs([tmp_path])
    assert (run.state, run.command, run.config, run.rows) == (FINISHED, None, {}, [])


def test_damaged_metrics_are_told_of_and_do_not_hide_the_result(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "metrics.csv").write_text("step,val/acc1\n9,0.5\n19,0.\x006\n")
    run = read_run(folder)
    assert run.state == FINISHED and "metrics.csv is damaged" in run.detail and run.score == pytest.approx(90)


def test_series_by_step_without_empty_cells(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", accuracy=0.8))
    assert run.series("val/acc1") == pytest.approx({9: 0.2, 19: 0.4, 29: 0.6, 39: 0.8})
    assert run.series("no/such") == {}


def test_commands_are_for_a_shell(tmp_path: Path) -> None:
    overrides = ("recipe.scheduler.milestones=[2, 3]", "+note=it's", "hydra.job.chdir=false", "resume=auto")
    folder = write_run(tmp_path / "my runs", finished=False, overrides=overrides)
    sources = [{"path": "/my conf", "provider": "command-line"}, {"path": "/other", "provider": "main"}]
    searched = "hydra.searchpath=[file:///more]"
    own = {"runtime": {"config_sources": sources}, "overrides": {"hydra": ["hydra.mode=MULTIRUN", searched]}}
    (folder / ".hydra/hydra.yaml").write_text(yaml.safe_dump({"hydra": own}))
    run = read_run(folder)
    names = ["member=dense", "dataset=digits", "seed=0"]
    start = ["python", "-m", "sparseift.train", "--config-dir", "/my conf", searched, *names]
    assert shlex.split(run.command) == [*start, *overrides]
    assert shlex.split(run.resume_command) == [*start, *overrides[:-1], f"hydra.run.dir={folder}", "resume=auto"]


@pytest.mark.parametrize("name", ["runs/dense_0.5", "my runs/1", "lr=0.1,seed=0", "it's", "é (2)", "a\\b"])
def test_folders_are_quoted_for_hydra(name: str) -> None:
    assert OverridesParser.create().parse_override(run_in(Path(name))).value() == name


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert read_run(write_run(tmp_path / "a")).resume_command is None


def test_flat() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [2], "e": {}}}, "f": None}) == {
        "a.b": 1,
        "a.c.d": [2],
        "a.c.e": {},
        "f": None,
    }
    assert flat({}) == {}


def test_flat_names_classes_of_this_package_without_their_modules() -> None:
    tree = {"a": {"_target_": "torch.optim.SGD", "lr": 0.1}, "b": [{"_target_": "sparseift.y.Z"}, "sparseift.y"]}
    assert flat(tree) == {"a._target_": "torch.optim.SGD", "a.lr": 0.1, "b": [{"_target_": "Z"}, "sparseift.y"]}
    assert flat({"a._target_": "sparseift.old.Class"}) == flat({"a": {"_target_": "sparseift.new.home.Class"}})


def test_flat_distinguishes_classes_of_one_name_in_modules_of_others() -> None:
    assert len({flat({"_target_": f"{module}.Masked"})["_target_"] for module in ("mine", "yours", "sparseift.x")}) == 3
