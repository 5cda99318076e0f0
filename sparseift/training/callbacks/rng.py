"""Random generators of each rank, saved in checkpoints so that dropout and the like resume bit-identically."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import distributed

from ...common.seeds import stable_seed

NumpyState = tuple[str, np.ndarray, int, int, float]


class RngState(pl.Callback):
    """Gives each rank random numbers of its own, and saves the states of all random generators.

    The ranks build the same network from the same numbers. When training starts, ranks other than 0 get seeds of their
    own: with the same numbers, dropout would drop the same units of all samples of a step that have the same place in
    the batch of their rank. What must agree on all ranks, such as masks and the order of the data, depends on the seed
    of the run alone.

    The states are saved as tensors and numbers, which load with `weights_only=True`, and restored before the first
    batch, because the setup of loaders draws numbers. A rank that the checkpoint does not know gets a new seed.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._pending: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        others, rank = (self._pending or {}).get("others", []), trainer.global_rank
        if 0 < rank <= len(others):
            self._pending = others[rank - 1]
        elif rank:
            self._pending = None
            seed = stable_seed(self.seed, "rank", rank, trainer.global_step)
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of rank 0, and of the `others`. Call this on all ranks."""
        own = self._states()
        if not (distributed.is_available() and distributed.is_initialized()):
            return own
        of_all: list[dict[str, Any]] = [{} for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(of_all, own)
        first, *others = of_all
        return {**first, "others": others} if others else first

    def _states(self) -> dict[str, Any]:
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
