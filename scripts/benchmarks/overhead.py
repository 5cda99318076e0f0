"""Time that masks add to training: in every step, and in a step with a mask update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sparseift.masks.history import MaskHistory
from sparseift.sparsifiers import SET, RigL, Update

from .harness import Figure, Phase, Scale, row
from .network import Training, language_training, training
from .peers import rigl_torch

INTERVAL = 100
SCHEDULE = {"update_interval": INTERVAL, "begin": 0.0, "end": 0.75, "drop_fraction": 0.3, "anneal": "constant"}
STEP, MASKING, UPDATE = "step without masks", "masking", "update"


@row("time of masking and of mask updates, relative to a training step without masks", everywhere=True)
def overhead(scale: Scale) -> Iterable[Figure]:
    train = training(scale)
    history = MaskHistory()
    phases = [
        *phases_of(train),
        Phase(f"{UPDATE}: SET", Mover(train, SET(**SCHEDULE)), train.before_update),
        Phase("recording of the mask history", lambda: history.observe(train.masks)),
        Phase("mask checksums, compared between ranks", train.masks.checksums),
    ]
    peers = rigl_torch(train)
    phases += peers if isinstance(peers, list) else []
    yield from judged(scale.timed(phases, rounds=scale(5, 2), warmup=1))
    if isinstance(peers, Figure):
        yield peers


@row("the same as overhead, for several widths and batch sizes", quick=False, everywhere=True)
def sizes(scale: Scale) -> Iterable[Figure]:
    """Sparse Wide doubles the width at 0.75, so 101 becomes 202. The step varies least and takes longest, so it is
    timed once."""
    for width, batch in ((32, 16), (32, 64), (32, 256), (45, 64), (64, 64), (101, 64)):
        train = training(scale, width, batch)
        wide = train.net.conv1.out_channels
        step, *masks = phases_of(train)
        timed = scale.timed([step], rounds=1, warmup=0) + scale.timed(masks, rounds=scale(5, 2), warmup=1)
        for figure in list(judged(timed)):  # renamed after the ratios, which refer to the names
            figure.name, figure.base = (
                name and f"width {wide}, batch {batch}: {name}" for name in (figure.name, figure.base)
            )
            yield figure


@row(
    "the same as overhead, for a GPT under AdamW: 8 sequences of 256 tokens, 4 layers, of width 512 after Sparse Wide",
    everywhere=True,
)
def language(scale: Scale) -> Iterable[Figure]:
    phases = phases_of(language_training(scale))
    yield from judged(scale.timed(phases, rounds=scale(5, 2), warmup=1))


class Mover:
    """Updates the masks of a network. Every call is a new step."""

    def __init__(self, train: Training, sparsifier: RigL | SET):
        self.train = train
        self.sparsifier = sparsifier
        self.step = 0

    def __call__(self) -> None:
        self.step += 1
        self.sparsifier.update(self.train.masks, [self.train.optimizer], Update(self.step, 10**6, seed=0))
        assert any(self.train.masks.moves.values())


def phases_of(train: Training) -> list[Phase]:
    train.step()
    train.keep_gradients()
    rigl = Mover(train, RigL(**SCHEDULE))
    return [
        Phase(STEP, train.step),
        Phase(MASKING, train.masks.mask_gradients),
        Phase(f"{UPDATE}: RigL", rigl, train.before_update),
    ]


def judged(figures: list[Figure]) -> Iterator[Figure]:
    """Add ratios to the step, and the average cost of masks per step."""
    step, masking, update, *others = figures
    yield step
    yield masking.over(step, at_most=0.005)
    yield update.over(step, at_most=0.3)
    spent = [mask + move / INTERVAL for mask, move in zip(masking.samples, update.samples, strict=True)]
    yield Figure(f"masking, plus an update every {INTERVAL} steps", "ms", spent).over(step, at_most=0.01)
    yield from (figure.over(step) for figure in others)
