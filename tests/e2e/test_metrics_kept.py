"""What a run has logged is there once, in metrics.csv and in TensorBoard, however the run was cut short."""

import csv
import json
import shutil
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .programs import metrics, quick

RUN = ("model._target_=tiny_nets.dropout", "recipe.epochs=2", "sparsifier.update_interval=4")
EVERY = ("trainer.log_every_n_steps=1", "checkpoint.every_n_steps=1")
SOME = (*RUN, "trainer.log_every_n_steps=1", "checkpoint.every_n_steps=3")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def before(step: int, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows of the first `step` optimizer steps; rows count from 0."""
    return [row for row in rows if int(row["step"]) < step]


def test_a_row_is_saved_before_the_checkpoint_after_which_it_is_not_logged_again(program, tmp_path) -> None:
    """Whatever was on disk at any moment of the run: a checkpoint of n steps, and all rows of these steps."""
    outcome = program("watched_run", quick(*RUN, *EVERY, "hydra.run.dir=run"), tmp_path)
    assert outcome.code == 0, outcome
    states, final = json.loads((tmp_path / "states.json").read_text()), metrics(tmp_path / "run")
    assert {step for step, _ in states} == set(range(21))
    for step, text in states:
        rows = [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(text.splitlines())]
        assert before(step, rows) == before(step, final)


@pytest.mark.parametrize(
    ("hook", "step", "number"),
    [
        ("saved", 10, signal.SIGKILL),  # the end of an epoch
        ("saved", 12, signal.SIGKILL),
        ("saved", 20, signal.SIGKILL),
        ("on_train_batch_start", 14, signal.SIGKILL),  # two steps after a checkpoint
        ("on_train_batch_start", 4, signal.SIGTERM),
    ],
)
def test_after_a_kill_and_a_resume(program, trained, finish, tmp_path, hook: str, step: int, number: int) -> None:
    arguments = [hook, str(step), *quick(*SOME, "hydra.run.dir=run")]
    code = program("killed_run", arguments, tmp_path, SIGNAL=str(int(number))).code
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 128 + number)
    finish(trained(*SOME), *SOME)  # compares metrics.csv
    whole, resumed = scalars(trained(*SOME)), scalars(tmp_path / "run")
    assert {tag: len(values) for tag, values in resumed.items()} == {tag: len(values) for tag, values in whole.items()}
    assert resumed == whole


def test_a_file_that_was_cut_short(train, trained, tmp_path) -> None:
    """The checkpoint has the rows of its steps."""
    shutil.copytree(trained(*SOME), tmp_path / "run")
    (tmp_path / "run/results.json").unlink()
    (tmp_path / "run/checkpoints/previous.ckpt").replace(tmp_path / "run/checkpoints/last.ckpt")  # of step 18
    log = tmp_path / "run/metrics.csv"
    log.write_text(log.read_text()[:200])
    outcome = train(*SOME, "hydra.run.dir=run", "resume=auto")
    assert outcome.code == 0 and outcome.err == "", outcome
    assert metrics(tmp_path / "run") == metrics(trained(*SOME))
