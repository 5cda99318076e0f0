"""Loads the weights that a network starts from."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from ..common.checks import require
from ..common.messages import one_line
from ..common.tensor_files import read_tensors
from ..errors import UserError
from .checkpoints.codec import network_state, read_checkpoint
from .checkpoints.files import find_checkpoint
from .checkpoints.integrity import damage

OPTION = "init.from"
KINDS = "a state dict (.pt, .pth or .safetensors), or a checkpoint (.ckpt) or run folder of a dense run"
PICKLED = "which holds Python objects other than tensors; expected the file of torch.save(net.state_dict(), FILE)"
OPTIONAL = "num_batches_tracked"
"""Buffer of batch norms that older state dicts lack."""


def load_weights_(net: nn.Module, path: Path) -> None:
    """Load the weights of a network.

    Args:
        path: A state dict, or a checkpoint or run folder of sparseift.train.

    Raises:
        UserError: The file can't be read, or is not of this network.
    """
    state, own = read_weights(path), net.state_dict()
    for name in [*own, *state]:
        network, file = (f"of shape {tuple(of[name].shape)}" if name in of else "missing" for of in (own, state))
        if network != file and not name.endswith(OPTIONAL):
            expected = f"the weights of the network: {name} is {network} in the network and {file} in the file"
            require(False, OPTION, str(path), expected)
    net.load_state_dict(state, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file or run folder.

    Raises:
        UserError: There is none.
    """
    require(path.exists(), OPTION, str(path), KINDS + "; there is no such file")
    require(path.is_dir() or path.is_file(), OPTION, str(path), KINDS)  # a FIFO would wait for a writer
    state: Any
    try:
        if path.is_dir() or path.suffix == ".ckpt":
            state = network_state(read_checkpoint(find_checkpoint(path)))
        elif path.suffix == ".safetensors":
            state = read_tensors(path)
        elif is_zipfile(path) and (reason := damage(path)):  # formats other than that of torch.save have no checksums
            raise UserError(f"{OPTION} is {str(path)!r}, which is damaged: {reason}")
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch raises errors of many types for files of other kinds
        pickled = isinstance(error, UnpicklingError) and is_zipfile(path)  # torch's message is on how to unpickle them
        reason = PICKLED if pickled else f"which can't be read: {one_line(error, whole=False)}"
        raise UserError(f"{OPTION} is {str(path)!r}, {reason}") from error
    entries = state if isinstance(state, dict) else {}
    others = [str(name) for name, value in entries.items() if not isinstance(value, Tensor)][:5]
    found = f"; the file has entries that are not tensors: {', '.join(others)}" if others else ""
    require(bool(entries) and not others, OPTION, str(path), KINDS + found)
    return state
