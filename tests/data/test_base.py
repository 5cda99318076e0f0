"""The data module of any samples: here dicts, which it splits, batches and resumes."""

from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from sparseift.data import DataModule
from sparseift.data.images.base import ImageData
from sparseift.errors import UserError


class Numbers(DataModule):
    def load(self, train: bool) -> list[dict[str, Tensor]]:
        return [{"number": torch.tensor(float(i))} for i in (range(24) if train else range(100, 104))]


def dicts(**changes: Any) -> Numbers:
    return Numbers(**{"batch_size": 4, "val_size": 6, "num_workers": 0, "seed": 0, "split_seed": 0} | changes)


def seen(loader: Any) -> list[list[float]]:
    return [batch["number"].tolist() for batch in loader]


def test_every_sample_is_trained_on_or_validated_on() -> None:
    data = dicts()
    train, held_out = (list(chain(*seen(loader))) for loader in (data.train_dataloader(), data.val_dataloader()))
    assert sorted(train + held_out) == list(range(24)) and held_out == sorted(held_out) and len(held_out) == 6
    assert seen(data.test_dataloader()) == [[100, 101, 102, 103]]


def test_seeds_share_the_split_and_not_the_order() -> None:
    a, b, other = dicts(seed=0), dicts(seed=1), dicts(split_seed=1)
    assert seen(a.val_dataloader()) == seen(b.val_dataloader()) != seen(other.val_dataloader())
    assert seen(a.train_dataloader()) != seen(b.train_dataloader())


@pytest.mark.parametrize("workers", [0, 1])
def test_resumes_at_every_batch(workers: int) -> None:
    loader, states, order = dicts().train_dataloader(), [], []
    for batch in loader:
        order.append(batch["number"].tolist())
        states.append(loader.state_dict())
    resumed = dicts(num_workers=workers).train_dataloader()
    for taken, state in enumerate(states[:-1], start=1):
        resumed.load_state_dict(state)
        assert seen(resumed) == order[taken:]


def test_ranks_share_samples(as_rank) -> None:
    alone = seen(dicts(batch_size=8).train_dataloader())
    parts = []
    for rank in range(2):
        as_rank(rank, 2)
        parts.append(seen(dicts().train_dataloader()))
    assert [[*first, *second] for first, second in zip(*parts, strict=True)] == alone


def test_no_validation() -> None:
    data = dicts(val_size=0)
    assert data.val_dataloader() == [] and len(list(chain(*seen(data.train_dataloader())))) == 24


def test_setup_reports_what_is_wrong_with_the_data() -> None:
    with pytest.raises(UserError, match=r"^dataset.val_size is 24; expected an integer from 0 to 23$"):
        dicts(val_size=24).setup("fit")
    dicts(val_size=24).setup("test")


def test_positions_of_older_checkpoints(numbered, numbers) -> None:
    """They count images."""
    data = numbered()
    loader = data.train_dataloader()
    order = numbers(loader)
    loader.load_state_dict({"epoch": 0, "batches_yielded": 2, "global_batch": 4, "devices": 1, "images": 18})
    assert numbers(loader) == order[2:]

    old = {"epoch": 0, "batches_yielded": 2, "images": 17, "global_batch": 4, "devices": 1}
    assert isinstance(data, ImageData)
    with pytest.raises(UserError, match=r"17 samples in batches of 4 .* has 18 samples"):
        data.load_state_dict(old)
