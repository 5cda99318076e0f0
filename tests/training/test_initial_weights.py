"""Files of weights whose damage is noticed. tests/e2e has what is loaded from which file."""

import os
from pathlib import Path

import pytest
import torch

from sparseift.errors import UserError
from sparseift.training.initial_weights import read_weights

STATE = {"weight": torch.arange(3000.0), "bias": torch.ones(2)}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_of_a_state_dict(tmp_path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(STATE, path)
    assert all(torch.equal(read_weights(path)[name], STATE[name]) for name in STATE)
    flipped(path)
    assert float(torch.load(path, weights_only=True)["weight"].sub(STATE["weight"]).abs().sum()) > 0  # torch alone
    with pytest.raises(UserError, match=r"^init\.from is .*which is damaged: the checksum of .*data.* differs"):
        read_weights(path)


def test_a_state_dict_of_the_time_before_archives(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert read_weights(path).keys() == STATE.keys()


def test_a_fifo_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"^init\.from is .*; expected a state dict"):
        read_weights(tmp_path / "weights.pt")


def test_a_whole_network_is_refused_with_what_to_save_instead(tmp_path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(UserError) as error:
        read_weights(tmp_path / "net.pt")
    expected = "holds Python objects other than tensors; expected the file of torch.save(net.state_dict(), FILE)"
    assert str(error.value).endswith(f"net.pt', which {expected}")


def test_a_checkpoint_of_another_program_is_refused_with_its_entries(tmp_path) -> None:
    torch.save({"state_dict": STATE, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"; the file has entries that are not tensors: state_dict, epoch$"):
        read_weights(tmp_path / "other.pt")
