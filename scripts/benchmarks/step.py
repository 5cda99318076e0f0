"""A training step between updates."""

from collections.abc import Iterable

from .harness import Figure, Phase, Scale, row
from .network import training


@row("masking the gradients, in a step of the same network without masks")
def masking(scale: Scale) -> Iterable[Figure]:
    train = training(scale)
    train.step()
    phases = [Phase("step without masks", train.step), Phase("mask_gradients", train.masks.mask_gradients)]
    step, alone = scale.timed(phases, rounds=scale(9, 2))
    return [step, alone.over(step, at_most=0.005)]
