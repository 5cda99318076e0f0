"""The training loader resumes at every batch, counts what was taken, leaves the global generator alone."""

import os
import signal
import subprocess
import time

import pytest
import torch

from sparseift.errors import UserError

WORKERS = pytest.mark.parametrize("workers", [0, 2])
EPOCHS, BATCHES = 3, 5  # 18 images of 24 are trained on, in batches of 4


@WORKERS
def test_resumes_at_every_batch(numbered, numbers, workers: int) -> None:
    loader = numbered().train_dataloader()
    states, order = [loader.state_dict()], []
    for _ in range(EPOCHS):
        assert len(loader) == BATCHES
        for batch in loader:
            states.append(loader.state_dict())
            order += numbers([batch])
    assert len(order) == EPOCHS * BATCHES
    assert {type(value) for state in states for value in state.values()} == {int}

    # One loader with persistent workers: also shows that loading a state forgets the position before.
    resumed = numbered(num_workers=workers).train_dataloader()
    for taken, state in enumerate(states[:-1]):
        resumed.load_state_dict(state)
        assert len(resumed) == BATCHES
        rest = numbers(resumed)
        assert rest == order[taken : taken // BATCHES * BATCHES + BATCHES]
    assert (states[-1]["epoch"], states[-1]["batches_yielded"]) == (EPOCHS - 1, BATCHES)


@WORKERS
def test_prefetched_batches_do_not_count(numbered, numbers, workers: int) -> None:
    loader = numbered(num_workers=workers).train_dataloader()
    batches = iter(loader)
    first = [next(batches), next(batches)]
    assert loader.state_dict()["batches_yielded"] == 2

    again = numbered().train_dataloader()
    assert numbers(first) == numbers(again)[:2]


@WORKERS
def test_an_epoch_cut_short_is_followed_by_the_next(numbered, numbers, workers: int) -> None:
    whole = numbered().train_dataloader()
    epochs = [numbers(whole) for _ in range(3)]
    assert epochs[0] != epochs[1]

    cut = numbered(num_workers=workers).train_dataloader()
    for epoch in epochs:
        assert numbers(batch for _, batch in zip(range(2), cut, strict=False)) == epoch[:2]


def test_iterating_anew_before_a_batch_is_taken_starts_the_same_epoch(numbered, numbers) -> None:
    loader = numbered().train_dataloader()
    iter(loader)
    first = numbers(loader)
    loader.load_state_dict(loader.state_dict() | {"epoch": 0, "batches_yielded": 3})
    iter(loader)
    assert numbers(loader) == first[3:]
    assert loader.state_dict()["epoch"] == 0


@WORKERS
def test_batches_do_not_depend_on_workers(numbered, settings, finished, workers: int) -> None:
    changes = settings(crop_padding=2, flip=True)
    data = numbered(**changes)
    want = [finished(data, loader) for loader in [data.train_dataloader()] for _ in range(2)]
    loader = numbered(**changes | {"num_workers": workers}).train_dataloader()
    for batches in want:
        for (images, targets), (want_images, want_targets) in zip(finished(data, loader), batches, strict=True):
            assert torch.equal(images, want_images)
            assert torch.equal(targets, want_targets)


def test_ranks_see_together_what_one_process_sees(numbered, finished, as_rank) -> None:
    """The same images with the same looks."""
    alone = numbered(crop_padding=2, flip=True, batch_size=6)
    want = finished(alone, alone.train_dataloader())
    parts = []
    for rank in range(3):
        as_rank(rank, 3)
        data = numbered(crop_padding=2, flip=True, batch_size=2)
        parts.append(finished(data, data.train_dataloader()))
    for (images, targets), *shares in zip(want, *parts, strict=True):
        assert torch.equal(torch.cat([share[0] for share in shares]), images)
        assert torch.equal(torch.cat([share[1] for share in shares]), targets)


def test_global_generator_is_left_alone(numbered) -> None:
    data = numbered(flip=True)
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_position_among_other_batches_is_refused(numbered) -> None:
    """Also between two epochs, because the run would have another number of steps."""
    loader = numbered().train_dataloader()
    next(iter(loader))
    inside = loader.state_dict()
    for position in (inside, inside | {"epoch": 1, "batches_yielded": 0}):
        with pytest.raises(UserError, match=r"18 samples in batches of 4 .* has 16 samples in batches of 5"):
            numbered(batch_size=5, val_size=8).train_dataloader().load_state_dict(position)


def test_position_counts_global_batches(numbered, as_rank) -> None:
    as_rank(1, 2)
    loader = numbered(batch_size=2).train_dataloader()
    list(loader)
    position = {"epoch": 0, "batches_yielded": 5, "samples": 18}
    assert loader.state_dict() == {**position, "global_batch": 4, "devices": 2}


def test_workers_ignore_the_signals_of_the_main_process(numbered) -> None:
    loader = numbered(num_workers=1, val_size=0).train_dataloader()
    batches = iter(loader)
    next(batches)
    [worker] = loader._iterator._workers
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(worker.pid, number)
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # as SLURM, which is not its parent
    time.sleep(0.1)
    assert len(list(batches)) == 5
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
