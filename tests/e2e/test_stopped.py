"""A run that a signal asks to leave saves after the step in hand, and ends later as one that was not stopped."""

import signal

import pytest

from .programs import checkpoint, files, quick

COMMON = ("model._target_=tiny_nets.dropout", "recipe.epochs=3", "sparsifier.update_interval=4")
AGAIN = "to resume, repeat the command with resume=auto hydra.run.dir=run"


@pytest.mark.parametrize(
    ("number", "code", "hook", "step", "saved"),
    [
        (signal.SIGTERM, 143, "on_train_batch_start", 13, 14),
        (signal.SIGINT, 130, "on_before_optimizer_step", 15, 16),  # an update of the masks
        (signal.SIGUSR2, 140, "on_train_batch_start", 19, 20),  # the last step of an epoch, which is finished
        (signal.SIGUSR1, 138, "on_validation_batch_start", 10, 10),
    ],
)
def test_stopped_and_resumed(program, trained, finish, tmp_path, number, code, hook, step, saved) -> None:
    arguments = [hook, str(step), *quick(*COMMON, "hydra.run.dir=run")]
    outcome = program("killed_run", arguments, tmp_path, SIGNAL=str(int(number)))
    assert outcome.code == code, outcome
    said = f"stopped by {number.name} after step {saved} and saved; {AGAIN}"
    assert outcome.err.splitlines()[-1] == f"sparseift: {said}"
    assert "Traceback" not in outcome.err
    assert checkpoint(tmp_path / "run")["global_step"] == saved
    assert not {"run/error.txt", "run/results.json"} & files(tmp_path)
    finish(trained(*COMMON), *COMMON)


@pytest.mark.parametrize(
    ("number", "code", "hook", "step", "said"),
    [
        (signal.SIGTERM, 143, "setup", 0, "stopped by SIGTERM"),
        (signal.SIGUSR2, 140, "on_train_start", 0, "stopped by SIGUSR2"),
        (signal.SIGTERM, 143, "on_train_epoch_start", 0, f"stopped by SIGTERM before the first step; {AGAIN}"),
        (signal.SIGINT, 130, "on_test_batch_start", 30, "interrupted"),
    ],
)
def test_stopped_where_nothing_is_to_be_saved(
    program, trained, finish, tmp_path, number, code, hook, step, said
) -> None:
    outcome = program(
        "killed_run", [hook, str(step), *quick(*COMMON, "hydra.run.dir=run")], tmp_path, SIGNAL=str(number)
    )
    assert outcome.code == code, outcome
    assert outcome.err.splitlines()[-1] == f"sparseift: {said}" and "Traceback" not in outcome.err
    assert not {"run/error.txt", "run/results.json"} & files(tmp_path)
    finish(trained(*COMMON), *COMMON)


def test_never_between_accumulated_batches(program, trained, finish, tmp_path) -> None:
    overrides = (*COMMON, "trainer.accumulate_grad_batches=2", "dataset.num_workers=2")
    arguments = ["on_train_batch_start", "2", *quick(*overrides, "hydra.run.dir=run")]
    assert program("killed_run", arguments, tmp_path, SIGNAL=str(int(signal.SIGTERM))).code == 143
    assert checkpoint(tmp_path / "run")["global_step"] == 3
    finish(trained(*overrides), *overrides)
