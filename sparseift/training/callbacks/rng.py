"""Random generators in checkpoints, so that dropout and other random operations resume bit-identically."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch

NumpyState = tuple[str, np.ndarray, int, int, float]


class RngState(pl.Callback):
    """Saves the states of all random generators as tensors and numbers, which load with `weights_only=True`.

    It restores them before the first batch, because the setup of loaders draws numbers. The checkpoint holds the states
    of rank 0, which are the same on all ranks.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, gauss = cast(NumpyState, np.random.get_state())
        version, internal, gauss_next = random.getstate()
        state = {
            "torch": torch.get_rng_state(),
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
            "python": [version, list(internal), gauss_next],
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._pending = {**{name: state[name] for name in ("torch", "numpy", "python")}, **state}

    def on_train_batch_start(self, *_: Any) -> None:
        state, self._pending = self._pending, None
        if state is None:
            return
        torch.set_rng_state(state["torch"].cpu())
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        version, internal, gauss_next = state["python"]
        random.setstate((version, tuple(internal), gauss_next))
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"].cpu())
