"""A training step between updates."""

from collections.abc import Iterable

from .harness import Figure, Phase, Scale, row, timed
from .network import training


@row("masking the gradients, in a step of the same network without masks")
def masking(scale: Scale) -> Iterable[Figure]:
    train = training(scale)
    train.step()
    phases = [Phase("step without masks", train.step), Phase("mask_gradients", train.masks.mask_gradients)]
    found = timed(phases, rounds=scale(9, 2))
    step, alone = found.values()
    return [step, alone.over(step, at_most=0.005)]
