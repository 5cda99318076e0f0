"""A run that is killed with SIGKILL and resumed ends as the one that was not: same weights, masks, results and log."""

import pytest

from .programs import checkpoint

# 30 steps in 3 epochs; masks move in steps 4, 8, ..., 20; checkpoints after steps 3, 6, 9, 10, 12, ...
COMMON = ("recipe.epochs=3", "checkpoint.every_n_steps=3", "sparsifier.update_interval=4")
DROPOUT = ("model._target_=tiny_nets.dropout", *COMMON)


@pytest.mark.parametrize(
    ("hook", "step", "epochs"),
    [
        ("on_before_optimizer_step", 3, [1, 2, 3]),  # the very first update of the masks
        ("on_before_optimizer_step", 11, [2, 3]),  # an update of the masks, in memory only
        ("on_train_batch_start", 14, [2, 3]),  # between batches
        ("on_train_batch_end", 10, [1, 2, 3]),  # the last batch of an epoch, before validation
        ("on_validation_batch_start", 20, [2, 3]),
        ("on_train_epoch_start", 20, [3]),
        ("last.ckpt", 15, [2, 3]),  # half written
        ("best.ckpt", 10, [1, 2, 3]),
        ("on_test_start", 30, []),
    ],
)
def test_a_killed_run_ends_as_if_it_was_not(trained, killed, finish, hook, step, epochs) -> None:
    killed(hook, step, *DROPOUT)
    assert finish(trained(*DROPOUT), *DROPOUT) == epochs


@pytest.mark.parametrize(
    ("overrides", "first", "second"),
    [
        (DROPOUT, ("on_train_batch_end", 5), ("on_before_optimizer_step", 15)),
        ((*COMMON, "sparsifier=set", "member=sparse_parallel"), ("on_before_optimizer_step", 7), ("last.ckpt", 20)),
        ((*COMMON, "dataset.val_size=0"), ("on_train_batch_start", 13), ("on_train_batch_start", 27)),
    ],
    ids=["rigl", "set", "no-validation"],
)
def test_killed_twice(trained, killed, finish, overrides, first, second) -> None:
    killed(*first, *overrides)
    killed(*second, *overrides)
    finish(trained(*overrides), *overrides)


def test_killed_before_the_first_checkpoint_of_last(trained, killed, finish) -> None:
    """best.ckpt is written before last.ckpt: a run that dies in between starts anew."""
    overrides = ("model._target_=tiny_nets.dropout", "recipe.epochs=2")
    killed("last.ckpt", 10, *overrides)
    assert finish(trained(*overrides), *overrides) == [1, 2]


@pytest.mark.parametrize("step", [0, 2])
def test_no_checkpoint_in_the_middle_of_accumulated_batches(trained, killed, finish, step: int) -> None:
    """Gradients are not in a checkpoint, so none may be written between the micro-batches of one step."""
    overrides = (*DROPOUT, "checkpoint.every_n_steps=2", "trainer.accumulate_grad_batches=2")
    killed("on_before_optimizer_step", step, *overrides)
    if step:  # dies in the step after the one that it resumed from
        killed("on_before_optimizer_step", step, *overrides)
    finish(trained(*overrides), *overrides)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_task_of_slurm_that_is_killed_in_validation_loses_one_step(
    trained, killed, finish, tmp_path, micro_batches: int
) -> None:
    """It is given no more time than SLURM has patience (KillWait)."""
    number = {f"SLURM_{name}": "0" for name in ("STEP_ID", "PROCID", "LOCALID", "NODEID")}
    task = {**number, "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}
    net = ("model._target_=tiny_nets.dropout", "recipe.epochs=2", "sparsifier.update_interval=4")
    overrides = (*net, f"trainer.accumulate_grad_batches={micro_batches}")
    end = 10 // micro_batches
    killed("on_validation_batch_start", end, *overrides, **task)
    assert checkpoint(tmp_path / "run")["global_step"] == end - 1
    assert finish(trained(*overrides), *overrides) == [1, 2]
