"""A step in which the masks move."""

from collections.abc import Iterable

from sparseift.sparsifiers import SET, RigL

from .harness import Figure, Phase, Scale, row
from .network import training

SCHEDULE = {"update_interval": 100, "begin": 0.0, "end": 0.75, "drop_fraction": 0.3, "anneal": "constant"}
BARS = {"RigL": 0.3, "SET": None}


@row("one update of all masks, in steps of the same network without masks")
def update(scale: Scale) -> Iterable[Figure]:
    train = training(scale)
    train.step()
    train.keep_gradients()
    count = 0

    def move(sparsifier: RigL | SET) -> None:
        nonlocal count
        count += 1
        sparsifier.update(train.masks, [train.optimizer], count, 10**6, seed=0)

    phases = [Phase("step without masks", train.step)]
    for kind in (RigL, SET):
        sparsifier = kind(**SCHEDULE)
        phases.append(Phase(kind.__name__, lambda own=sparsifier: move(own), train.put_gradients_back))
    step, *updates = scale.timed(phases, rounds=scale(7, 2))
    return [step, *(figure.over(step, at_most=BARS[figure.name]) for figure in updates)]
