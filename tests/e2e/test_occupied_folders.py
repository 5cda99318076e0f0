"""A run takes an empty folder, goes on with its own, and touches nothing else unless it is told to replace a run."""

import shutil
from pathlib import Path

import pytest

from sparseift.app.contents import LOCK
from sparseift.common.locks import locked

from .programs import files, lasting, quick, results

RUN = ("model._target_=tiny_nets.dropout", "recipe.epochs=2", "checkpoint.every_n_steps=3", "sparsity=0.5")
EXPECTED = "expected an empty folder, resume=auto to continue that run, or overwrite=true to replace it"


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}


@pytest.fixture
def finished(trained, tmp_path) -> Path:
    return shutil.copytree(trained(*RUN), tmp_path / "run")


@pytest.mark.parametrize("state", ["finished", "half done", "first epoch", "without a lock"])
def test_a_run_is_not_replaced_unless_told(finished, train, state: str) -> None:
    gone = {
        "finished": [],
        "half done": ["results.json"],
        "first epoch": ["results.json", *(f"checkpoints/{name}.ckpt" for name in ("last", "previous", "best"))],
        "without a lock": [".lock"],  # by a version that had none
    }
    for name in gone[state]:
        (finished / name).unlink()
    before = contents(finished)
    assert train(*RUN, "seed=1", "hydra.run.dir=run").mistake() == f"hydra.run.dir is run, which has a run; {EXPECTED}"
    assert contents(finished) == before


def test_overwrite_removes_what_a_run_has_written_and_nothing_else(finished, train, trained) -> None:
    mine = {"checkpoints/mymodel.ckpt", "notes.txt", "tensorboard/copy.txt", "results.json.bak", "predictions.log"}
    for name in mine:
        (finished / name).write_text(name)
    old = {name for name in files(finished) if name.startswith("tensorboard/events.")}
    outcome = train(*RUN, "seed=1", "hydra.run.dir=run", "overwrite=true")
    assert outcome.code == 0, outcome
    assert results(finished)["seed"] == 1 and lasting(finished) == lasting(trained(*RUN, "seed=1"))
    now = files(finished)
    assert mine <= now and all((finished / name).read_text() == name for name in mine)
    assert old and not old & now
    both = train(*RUN, "hydra.run.dir=run", "overwrite=true", "resume=auto").mistake()
    assert both == "overwrite is True; expected false with resume=auto"


@pytest.mark.parametrize("more", [(), ("resume=auto",), ("overwrite=true",)], ids=str)
def test_files_of_others(train, tmp_path, more: tuple[str, ...]) -> None:
    """The working folder, in which a network of one's own lies under the name that a run would use."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").write_text("mine")
    before = contents(tmp_path)
    told = train(*RUN, *more, "hydra.run.dir=.").mistake()
    found = "checkpoints/best.ckpt, which no run has written there"
    assert told == f"hydra.run.dir is ., which has {found}; expected an empty folder"
    assert contents(tmp_path) == before


def test_beside_files_of_others(train, tmp_path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/mymodel.ckpt").write_text("mine")
    told = train(*RUN, "hydra.run.dir=.").mistake()
    beside = "expected an empty folder, or overwrite=true to write beside other files"
    assert told == f"hydra.run.dir is ., which has checkpoints; {beside}"
    assert files(tmp_path) == {"checkpoints/mymodel.ckpt"}
    train(*RUN, "hydra.run.dir=.", "overwrite=true", "recipe.optimizer.lr=fast").mistake()
    assert files(tmp_path) == {"checkpoints/mymodel.ckpt"}


@pytest.mark.parametrize("folder", ["run", "sweep"])
@pytest.mark.parametrize("value", ["", "''", "' '"])
def test_a_folder_without_a_name(program, tmp_path, folder: str, value: str) -> None:
    sweep = ["-m"] if folder == "sweep" else []
    outcome = program("sparseift.train", [*sweep, *quick(*RUN, f"hydra.{folder}.dir={value}")], tmp_path)
    assert outcome.mistake() == f"hydra.{folder}.dir is {value.strip(chr(39))!r}; expected a folder"
    assert files(tmp_path) == set()


@pytest.mark.parametrize("left", [("error.txt",), ("error.txt", ".hydra/config.yaml", "metrics.csv"), ("slurm-7.out",)])
def test_what_a_start_has_left_is_no_obstacle(trained, train, tmp_path, left: tuple[str, ...]) -> None:
    for name in left:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        source = trained(*RUN) / name
        (tmp_path / "run" / name).write_text(source.read_text() if source.exists() else "no space\n")
    outcome = train(*RUN, "hydra.run.dir=run")
    assert outcome.code == 0, outcome
    assert lasting(tmp_path / "run") == lasting(trained(*RUN))
    assert ("slurm-7.out" in left) == (tmp_path / "run/slurm-7.out").exists()
    assert not (tmp_path / "run/error.txt").exists()


def test_a_requeued_job_goes_on_in_its_folder(finished, train, program, trained, tmp_path) -> None:
    """Also with the overwrite=true of its first start."""
    (finished / "results.json").unlink()
    (finished / "checkpoints/previous.ckpt").replace(finished / "checkpoints/last.ckpt")
    number = {f"SLURM_{name}": "0" for name in ("STEP_ID", "PROCID", "LOCALID", "NODEID")}
    task = {**number, "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_RESTART_COUNT": "1"}
    arguments = quick(*RUN, "hydra.run.dir=run", "overwrite=true")
    outcome = program("sparseift.train", arguments, tmp_path, **task)
    assert outcome.code == 0 and "epoch 1/2" not in outcome.out, outcome
    assert lasting(finished) == lasting(trained(*RUN))


def test_a_sweep_that_is_repeated_does_not_replace_its_jobs(finished, program, tmp_path) -> None:
    (tmp_path / "sweep").mkdir()
    finished.rename(tmp_path / "sweep/0")
    before = contents(tmp_path / "sweep/0")
    job = quick(*RUN, "seed=1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra:job.num}", "hydra/launcher=basic")
    outcome = program("sparseift.train", ["-m", *job], tmp_path)
    assert outcome.code == 1, outcome
    told = "the folder of the job is sweep/0, which has a run; expected an empty folder, sweep.resume=true"
    assert told in outcome.err
    assert contents(tmp_path / "sweep/0") == before


def test_a_folder_in_which_another_process_trains_is_left_alone(finished, train) -> None:
    before = contents(finished)
    with locked(finished / LOCK):
        outcome = train(*RUN, "seed=1", "hydra.run.dir=run", "overwrite=true")
    assert f"another process trains in {finished}" in outcome.mistake()
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("resume", "code", "told"),
    [
        ((), "2", f"sparseift: hydra.run.dir is run, which has a run; {EXPECTED}\n"),
        (("resume=auto",), "0", ""),
    ],
    ids=["anew", "resume"],
)
def test_the_second_of_two_processes_looks_when_the_first_has_ended(
    trained, program, tmp_path, resume: tuple[str, ...], code: str, told: str
) -> None:
    """It starts before the first has saved anything, waits, and finds what was saved in the meantime."""
    outcome = program("followed_run", quick(*RUN, *resume, "hydra.run.dir=run"), tmp_path)
    assert outcome.code == 0, outcome
    assert ((tmp_path / "second.code").read_text(), (tmp_path / "second.err").read_text()) == (code, told)
    finished = f"already finished: {tmp_path / 'run/results.json'}\n" if resume else ""
    assert (tmp_path / "second.out").read_text() == finished
    assert lasting(tmp_path / "run") == lasting(trained(*RUN))
