"""The saved weights and masks of a run, from its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..common.checks import one_of, require
from ..errors import UserError
from ..runs.weights import WEIGHTS
from .checkpoints import BEST, CURRENT, find_checkpoint, mask_state, network_state, problem, read_checkpoint


@dataclass(frozen=True)
class Saved:
    """Weights and masks, and the config of the run that they are of.

    Attributes:
        file: The file of the weights.
        weights: Which weights these are (see `runs.weights`).
        config: The config of the run.
        settings: The values of interpolations in the config, by dotted key.
        state: The state dict of the network.
        masks: The state of its masks: `masks` with their bits, and `active` with the numbers of active weights.
        exact: Whether masked weights are zero; an average of weights may be denser.
        sha256: The hash of the network (see `weights_sha256`), if it is recorded.
    """

    file: Path
    weights: str
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    state: Mapping[str, Tensor]
    masks: Mapping[str, Any]
    exact: bool
    sha256: str | None = None


def read_saved(run: Path, config: Mapping[str, Any], weights: str | None) -> Saved:
    """Read the weights and masks in a checkpoint of a run folder.

    Args:
        weights: Which weights; None for those that the run has tested.

    Raises:
        UserError: There is no intact checkpoint, or it does not have these weights.
    """
    if weights is not None:
        one_of("weights", weights, WEIGHTS)
    best = run / "checkpoints" / BEST
    use_best = weights == "best" or (weights is None and config["checkpoint"]["test"] == "best" and best.exists())
    if use_best and (reason := problem(best)):
        raise UserError(reason)
    file = best if use_best else find_checkpoint(run)
    saved = read_checkpoint(file)
    averaged = CURRENT in saved
    if weights == "average" and not averaged:
        require(False, "weights", weights, f"last or best: {file} has no average of weights (callbacks=[ema])")
    state = saved[CURRENT] if weights == "last" and averaged else saved["state_dict"]
    return Saved(
        file=file,
        weights=weights or ("best" if use_best else "average" if averaged else "last"),
        config=config,
        settings=saved.get("settings", {}),
        state=network_state({"state_dict": state}),
        masks=mask_state(saved),
        exact=weights != "average" and not averaged,
    )
