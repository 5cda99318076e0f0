"""The main command lines, each as a process with a folder of its own."""

import re
import subprocess
import sys
from itertools import product

import pytest
import yaml

from sparseift.app.overrides import choices_of, config_folder

from .programs import BATCHES, checkpoint, environment, files, lasting, quick, results

TINY = "model._target_=tiny_nets.dropout"
FEW = (TINY, "sparsifier=static", "dataset.val_size=1300")  # two steps
REQUIRED = {
    "backend": {"masked"},
    "dataset": {"cifar10", "cifar100", "digits", "fashion_mnist", "imagenet", "synthetic"},
    "experiment": {"cifar100/resnet18", "digits/quickstart"},
    "member": {"dense", "sparse_doped", "sparse_factorized", "sparse_parallel", "sparse_wide"},
    "model": {"mobilenet_v2", "resnet18", "resnet18_cifar", "resnet34", "resnet34_cifar", "resnet50"},
    "pattern": {"block", "n_of_m", "unstructured"},
    "recipe": {"cifar", "imagenet", "short"},
    "sparsifier": {"none", "rigl", "set", "static"},
    "sparsity": {"er", "erk", "uniform"},
    "task": {"classification"},
    "trainer": {"auto", "cpu", "ddp", "fsdp"},
}


def choice(program, tmp_path, *overrides: str) -> dict:
    """The config that `--cfg job` prints, which writes nothing."""
    outcome = program("sparseift.train", [*overrides, "--cfg", "job"], tmp_path)
    assert outcome.code == 0 and outcome.err == "", outcome
    assert files(tmp_path) == set()
    return yaml.safe_load(outcome.out)


def test_the_default_run_is_that_of_the_paper(program, tmp_path) -> None:
    config = choice(program, tmp_path)
    assert config["model"]["_target_"].endswith("resnet18_cifar") and config["model"]["base_width"] == 64
    assert config["dataset"]["_target_"].endswith("Cifar100") and config["dataset"]["batch_size"] == 128
    assert config["member"]["_target_"].endswith("SparseWide") and config["sparsity"]["level"] == 0.75
    assert config["sparsity"]["distribution"]["_target_"].endswith("Uniform")
    assert config["sparsifier"]["_target_"].endswith("RigL") and config["sparsifier"]["update_interval"] == 100
    assert config["recipe"]["epochs"] == 200 and config["recipe"]["optimizer"]["lr"] == 0.1
    assert not any(isinstance(value, str) and "???" in value for value in config.values())


def test_the_default_run_without_its_data_ends_in_one_line(tmp_path) -> None:
    command = [sys.executable, "-m", "sparseift.train"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("sparseift: CIFAR100 is not in ") and done.stderr.count("\n") == 1
    assert str(tmp_path / "data" / "cifar100") in done.stderr and "https://www.cs.toronto.edu" in done.stderr
    assert files(tmp_path) == set()
    assert not [path for path in (tmp_path / "runs").glob("*")]


def test_parallel_with_set_at_a_plain_sparsity(trained) -> None:
    run = results(trained("member=sparse_parallel", "sparsity=0.9", "sparsifier=set"))
    assert (run["member"], run["sparsity"], run["sparsifier"]) == ("sparse_parallel", 0.9, "set")
    assert abs(run["flops"]["ratio"] - 1) < 1e-3
    assert run["flops"]["train_total"] == 3 * run["flops"]["forward"] * sum(BATCHES)


def test_dense_alone_has_no_masks(trained) -> None:
    folder = trained("member=dense")
    run = results(folder)
    assert (run["sparsifier"], run["distribution"], run["sparsity"]) == ("none", None, 0.0)
    assert run["masks_sha256"] is None
    assert run["flops"]["forward"] == run["flops"]["forward_stored"] == run["flops"]["budget"]
    assert run["params"]["active"] == run["params"]["stored"]
    assert run["flops"]["train_total"] == 3 * run["flops"]["budget"] * sum(BATCHES)
    convolutions = [weight for weight in checkpoint(folder)["state_dict"].values() if weight.dim() == 4]
    assert len(convolutions) == 20 and all((weight != 0).all() for weight in convolutions)


def test_dense_with_a_sparsifier_is_plain_sparse_training(trained) -> None:
    run = results(trained("member=dense", "sparsifier=rigl", "sparsity=0.9"))
    dense = results(trained("member=dense"))
    assert run["flops"]["forward_stored"] == run["flops"]["budget"] == dense["flops"]["forward"]
    assert run["params"]["stored"] == dense["params"]["stored"]
    assert 0.1 < run["flops"]["ratio"] < 0.15  # a tenth of the masked layers, and the layers that stay dense
    assert run["sparsity"] == 0.9 and run["masks_sha256"]


def test_a_distribution_and_a_level(program, tmp_path) -> None:
    config = choice(program, tmp_path, "sparsity=erk", "sparsity.level=0.9")
    assert config["sparsity"]["distribution"] == {"_target_": "sparseift.sparsity.ERK", "power": 1.0}
    assert config["sparsity"]["level"] == 0.9


def test_a_sweep_of_members_sparsities_and_seeds(program, tmp_path) -> None:
    sweep = ["member=sparse_wide,sparse_doped", "sparsity=0.5,0.9", "seed=0,1", "hydra.sweep.dir=sweep"]
    outcome = program("sparseift.train", ["-m", *quick(*FEW, *sweep)], tmp_path)
    assert outcome.code == 0, outcome
    folders = sorted((tmp_path / "sweep").glob("*/results.json"))
    ran = {(run["member"], run["sparsity"], run["seed"]): run for run in map(results, (f.parent for f in folders))}
    assert set(ran) == set(product(("sparse_wide", "sparse_doped"), (0.5, 0.9), (0, 1)))
    assert len({run["weights_sha256"] for run in ran.values()}) == 8

    last = ran["sparse_doped", 0.9, 1]  # nothing of the jobs before it is left in the process
    alone = ["member=sparse_doped", "sparsity=0.9", "seed=1", "hydra.run.dir=alone"]
    assert program("sparseift.train", quick(*FEW, *alone), tmp_path).code == 0
    same = {"seconds": 0, "crc32": ""}
    assert {**last, **same} == {**results(tmp_path / "alone"), **same}


def test_a_sweep_of_a_range(program, tmp_path) -> None:
    arguments = ["-m", *quick(*FEW, "sparsity=range(0.5,0.95,0.15)", "hydra.sweep.dir=sweep")]
    assert program("sparseift.train", arguments, tmp_path).code == 0
    levels = [results(file.parent)["sparsity"] for file in sorted((tmp_path / "sweep").glob("*/results.json"))]
    assert levels == pytest.approx([0.5, 0.65, 0.8])


def test_a_job_that_fails_does_not_stop_the_sweep(program, tmp_path) -> None:
    arguments = ["-m", *quick(*FEW, "sparsity=1.5,0.5", "hydra.sweep.dir=sweep")]
    outcome = program("sparseift.train", arguments, tmp_path)
    failed, fine = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert outcome.code == 1
    assert results(fine)["sparsity"] == 0.5 and not (fine / "error.txt").exists()
    assert (failed / "error.txt").read_text().startswith("sparsity.level is 1.5; expected a number in (0, 1)")
    assert not (failed / "results.json").exists()
    assert "1 of the jobs failed" in outcome.err and "Traceback" not in outcome.err


def test_a_sweep_ends_with_the_first_failure_if_asked(program, tmp_path) -> None:
    arguments = ["-m", *quick(*FEW, "sparsity=0.5,1.5,0.75", "sweep.stop_on_failure=true", "hydra.sweep.dir=sweep")]
    outcome = program("sparseift.train", arguments, tmp_path)
    assert outcome.code == 1 and "Traceback" not in outcome.err, outcome
    done, failed = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert (done / "results.json").exists() and (failed / "error.txt").exists()


def test_a_sweep_that_is_said_again_does_what_is_missing(program, tmp_path) -> None:
    """One job is finished, one was stopped after an epoch, one has failed."""
    said = ["-m", *quick(TINY, "recipe.epochs=2", "seed=0,1,2", "hydra/launcher=basic")]
    assert program("sparseift.train", said, tmp_path).code == 0
    assert program("sparseift.train", [*said, "sparsifier=set"], tmp_path).code == 0  # newer, and another one
    [first, _] = sorted((tmp_path / "multirun").iterdir())
    jobs = sorted(path for path in first.iterdir() if path.is_dir())
    whole = [lasting(job) for job in jobs]
    when = (jobs[0] / "results.json").stat().st_mtime_ns
    (jobs[1] / "results.json").unlink()
    (jobs[1] / "checkpoints/previous.ckpt").replace(jobs[1] / "checkpoints/last.ckpt")
    for path in sorted(jobs[2].rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (jobs[2] / "error.txt").write_text("no reason\n")

    outcome = program("sparseift.train", [*said, "sweep.resume=true"], tmp_path)
    assert outcome.code == 0, outcome
    assert len(list((tmp_path / "multirun").iterdir())) == 2
    assert outcome.err == ""
    assert [lasting(job) for job in jobs] == whole
    assert (jobs[0] / "results.json").stat().st_mtime_ns == when
    assert outcome.out.count("epoch 1/2") == 1 and outcome.out.count("epoch 2/2") == 2
    assert not (jobs[2] / "error.txt").exists()


def test_a_sweep_that_was_not_there_is_not_gone_on_with_without_a_word(program, tmp_path) -> None:
    mistake = program("sparseift.train", quick(TINY, "sweep.resume=true"), tmp_path).mistake()
    assert mistake == "sweep.resume=true needs the option -m (--multirun); a single run resumes with resume=auto"
    outcome = program("sparseift.train", ["-m", *quick(TINY, "seed=0", "sweep.resume=true")], tmp_path)
    assert (outcome.code, outcome.err) == (
        0,
        "sparseift: no sweep in multirun/ has these overrides; a new sweep starts\n",
    )


def test_the_error_of_a_job_is_gone_when_it_succeeds(program, tmp_path) -> None:
    """A sweep is repeated in its folder with resume=auto until nothing is missing."""
    job = [*FEW, "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${seed}", "resume=auto", "seed=0,1"]
    assert program("sparseift.train", ["-m", *quick(*job, "dataset.num_classes=11")], tmp_path).code == 1
    assert (tmp_path / "sweep/1/error.txt").exists()
    assert program("sparseift.train", ["-m", *quick(*job)], tmp_path).code == 0
    assert (tmp_path / "sweep/1/results.json").exists() and not (tmp_path / "sweep/1/error.txt").exists()


@pytest.mark.parametrize("module", ["sparseift.train", "sparseift.profile"])
def test_help_names_every_group_and_choice_with_a_line(program, tmp_path, module: str) -> None:
    outcome = program(module, ["--help"], tmp_path)
    assert outcome.code == 0 and outcome.err == ""
    told: dict[str, dict[str, str]] = {}
    for line in outcome.out.splitlines():
        if group := re.fullmatch(r"  ([\w/]+)", line):
            choices = told.setdefault(group[1], {})
        elif option := re.fullmatch(r"    ([\w/]+) +(\S.*)", line):
            choices[option[1]] = option[2]
    named = {f"{group}/{choice}" for group, choices in told.items() for choice in choices}
    conf = config_folder()
    of_conf = {file.relative_to(conf).with_suffix("").as_posix() for file in conf.glob("*/**/*.yaml")}
    assert named == {choice for choice in of_conf if not choice.startswith("shared/")}
    assert all(" " in line for choices in told.values() for line in choices.values())
    assert len({line for choices in told.values() for line in choices.values()}) == len(named)
    assert files(tmp_path) == set()


def test_the_groups_and_choices_that_others_rely_on() -> None:
    for group, choices in REQUIRED.items():
        assert choices <= choices_of(config_folder() / group).keys()


@pytest.mark.parametrize("experiment", sorted(REQUIRED["experiment"]))
def test_experiments(program, tmp_path, experiment: str) -> None:
    config = choice(program, tmp_path, f"experiment={experiment}", "member=sparse_doped")
    assert config["member"]["_target_"].endswith("SparseDoped")


def test_a_sweep_of_experiments_in_two_folders(program, tmp_path) -> None:
    arguments = ["-m", "experiment=digits/quickstart,cifar100/resnet18_dense", "format=json"]
    outcome = program("sparseift.profile", arguments, tmp_path)
    assert outcome.code == 0, outcome
    assert re.findall(r'"budget": (\d+)', outcome.out) == ["1091840", "1110937600"]
    assert files(tmp_path) == set()


def test_a_folder_name_that_can_be_read(program, tmp_path) -> None:
    assert program("sparseift.train", quick(TINY, "sparsity=0.9", "seed=3"), tmp_path).code == 0
    [folder] = (tmp_path / "runs").iterdir()
    name = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_tiny_nets\.dropout_digits_sparse_wide_0\.9_rigl_seed3"
    assert re.fullmatch(name, folder.name)
    assert results(folder)["model"] == "tiny_nets.dropout"


def test_the_same_command_twice_gives_the_same_run(program, trained, tmp_path) -> None:
    assert program("sparseift.train", quick("member=dense", "hydra.run.dir=again"), tmp_path).code == 0
    assert lasting(tmp_path / "again") == lasting(trained("member=dense"))
