"""The check of scripts/dropin_table: what it lets through, and that each of its findings can be found."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparseift.sparsifiers import RigL

pytest.importorskip("timm")


class Small(nn.Module):
    def __init__(self, scale: float = 1.0, secret: float = 0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
        )
        self.head = nn.Linear(8, 5)
        self.scale, self.secret, self.batches = scale, secret, 0

    def forward(self, images: Tensor) -> Tensor:
        self.batches += self.training
        return self.head(self.layers(images).mean((2, 3))) * self.scale + self.secret * self.batches


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from dropin import check, networks
    from dropin.rows import Row

    monkeypatch.setattr(networks, "image_size", lambda _: 16)

    def checked(net: nn.Module, member: str = "sparse_wide", **plan: float) -> str:
        monkeypatch.setattr(networks, "build", lambda _: net)
        network, row = networks.Network("small"), Row("small", member, 0.75)
        check.fill_in(row, network)
        assert row.met and not row.refusal
        vars(row).update(plan)
        return check.check(row, network)

    return checked


@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_a_network_passes(check, member: str) -> None:
    assert check(Small(), member) == "passed"


@pytest.mark.parametrize("scale", [torch.inf, torch.nan])
def test_outputs_that_are_not_finite(check, scale: float) -> None:
    assert check(Small(scale)) == "the outputs are not finite"


def test_state_that_the_state_dict_does_not_hold(check) -> None:
    assert check(Small(secret=1.0)) == "a network with its state dict gives other outputs"


def test_a_plan_that_is_not_that_of_the_table(check) -> None:
    assert check(Small(), active=7) == "the plan differs from that of the table"


def test_masks_that_do_not_move(check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparseift.sparsifiers.RigL.fraction", lambda *_: 0.0)
    assert check(Small()) == "RigL moved no weight"


def test_weights_outside_their_mask(check, monkeypatch: pytest.MonkeyPatch) -> None:
    update = RigL.update

    def without_clearing(*arguments: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("sparseift.masks.masks.mask_in_place", lambda *_: None)
            update(*arguments)

    monkeypatch.setattr(RigL, "update", without_clearing)
    assert check(Small()) == "layers.3 has left its mask"
