"""The random generators of a run go on where a checkpoint was made."""

import io
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sparseift.training.callbacks import RngState


def draw() -> list[float]:
    """From every generator, normal deviates included: those come in pairs, of which the second is kept."""
    return [
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
        *np.random.rand(3).tolist(),
        np.random.randn(),
        random.random(),
        random.gauss(0, 1),
    ]


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_same_numbers_after_a_resume() -> None:
    draw()
    state = through_a_file(RngState().state_dict())
    expected = draw()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    resumed = RngState()
    resumed.load_state_dict(state)
    draw()  # what setting up draws does not count
    resumed.on_train_batch_start(None, None, None, 0)
    assert draw() == expected


def test_put_back_once() -> None:
    resumed = RngState()
    resumed.load_state_dict(RngState().state_dict())
    resumed.on_train_batch_start(None, None, None, 0)
    first = draw()
    resumed.on_train_batch_start(None, None, None, 1)
    assert draw() != first


def test_a_run_that_is_not_resumed_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    RngState().on_train_batch_start(None, None, None, 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("known", [0, 2])
def test_ranks_that_a_checkpoint_does_not_know_get_new_numbers(known: int) -> None:
    """Of rank 2 of 3: a checkpoint of one process, or of three."""
    state = RngState().state_dict()
    own = through_a_file({**state, "torch": torch.Generator().manual_seed(5).get_state()})
    resumed = RngState(seed=3)
    resumed.load_state_dict({**state, "others": [state, own][:known]})
    before = torch.get_rng_state()
    resumed.on_train_start(SimpleNamespace(global_rank=2, global_step=7), None)
    resumed.on_train_batch_start(None, None, None, 0)
    drawn = torch.rand(4)
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(5))) == bool(known)
    torch.set_rng_state(before)
    assert not torch.equal(drawn, torch.rand(4))


def test_rank_0_goes_on_as_before() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    RngState(seed=3).on_train_start(SimpleNamespace(global_rank=0, global_step=0), None)
    assert torch.equal(torch.rand(3), expected)
