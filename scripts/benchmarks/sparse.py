"""Time of the sparse backend, relative to the original dense network and to masks.

The instruction set is that of `sparseift.kernels`. For AVX2 alone, limit torch's kernels as well:
SPARSEIFT_INSTRUCTION_SET=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 scripts/bench sparse
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from sparseift.backends import Sparse
from sparseift.kernels import load
from sparseift.masks.patterns import Block
from sparseift.sparsifiers import RigL

from .harness import Figure, Phase, Scale, fastest, row
from .network import Training, language_training, training
from .overhead import INTERVAL, SCHEDULE, Mover

AT_MOST = {0.75: 1.6, 0.9: 2.0, 0.95: 2.6}
"""Largest ratio of a sparse step to that of the original dense network, by sparsity."""

AT_MOST_IN_BLOCKS = {0.75: 1.2, 0.9: 1.3, 0.95: 1.5}
"""The same if pairs of channels share their masks."""

AT_LEAST = {0.75: 2.7, 0.9: 6.0, 0.95: 9.0}
"""Smallest ratio of a masked step to a sparse one."""

LAYOUTS = torch.contiguous_format, torch.channels_last


@row("a training step of ResNet-18 with the sparse backend, Sparse Wide at three sparsities", quick=False)
def sparse(scale: Scale) -> Iterator[Figure]:
    """With 128 images, a step takes so long that masked ones are left out."""
    for batch, rounds in ((32, 7), (128, 3)):
        for sparsity in AT_MOST:
            yield from _steps(scale, batch, sparsity, rounds, AT_MOST, compared=batch == 32)


@row("the same as sparse with 32 images, if blocks of 2 x 2 channels share their masks", quick=False)
def sparse_blocks(scale: Scale) -> Iterator[Figure]:
    for sparsity in AT_MOST_IN_BLOCKS:
        yield from _steps(scale, 32, sparsity, 5, AT_MOST_IN_BLOCKS, pattern=Block(size=2, tolerance=0.02))


@row("a training step of a GPT with the sparse backend: width 512, 8 sequences of 256 tokens", quick=False)
def sparse_language(scale: Scale) -> Iterator[Figure]:
    """The dense network runs on torch's F.linear, which chooses between MKL and oneDNN."""
    settings = {"width": 512, "layers": 2, "vocabulary": 512}
    for sparsity in (0.75, 0.9):
        name = f"sparsity {sparsity}: "
        run = SparseTraining(language_training(scale, **settings, sparsity=sparsity))
        phases = [
            Phase(f"{name}dense network", language_training(scale, **settings, sparsity=None).step),
            Phase(f"{name}sparse ({load()})", run.step),
        ]
        base, step = scale.timed(phases, rounds=scale(5, 2), warmup=1)
        yield base
        yield step.over(base)


def _steps(
    scale: Scale, batch: int, sparsity: float, rounds: int, at_most: Mapping[float, float],
    pattern: Block | None = None, compared: bool = False,
) -> Iterator[Figure]:  # fmt: skip
    """Steps of the dense network and of the sparse one, and of a masked one if they are to be `compared`."""
    name = f"batch {batch}, sparsity {sparsity}: "
    dense = [
        Phase(f"{name}dense network, {layout}", training(scale, 64, batch, None, layout).step) for layout in LAYOUTS
    ]
    run = SparseTraining(training(scale, 64, batch, sparsity, pattern=pattern))
    phases = [*dense, Phase(f"{name}sparse ({load()})", run.step)]
    *denses, step = scale.timed(phases, rounds=scale(rounds, 2), warmup=1)
    base = fastest(denses)
    yield base
    yield step.over(base)
    update = Phase(f"{name}sparse, step with an update of RigL and the next", run.update)
    (both,) = scale.timed([update], rounds=scale(2, 1), warmup=0)
    yield both
    more = max(0.0, (both.median or 0) - 2 * (step.median or 0)) / INTERVAL
    average = Figure(f"{name}sparse, with an update every {INTERVAL} steps", "ms", [one + more for one in step.samples])
    yield average.over(base, at_most=at_most[sparsity])
    if compared:
        run.backend.detach(run.train.net)
        masked = Phase(f"{name}masked", run.train.masked_step)
        (slow,) = scale.timed([masked], rounds=scale(2, 1), warmup=0)
        yield slow.over(step, at_least=AT_LEAST[sparsity])


class SparseTraining:
    """A training with the sparse backend."""

    def __init__(self, train: Training) -> None:
        self.train = train
        self.backend = Sparse()
        self.backend.attach(train.net, train.masks)
        self.rigl = Mover(train, RigL(**SCHEDULE))

    def step(self) -> None:
        self.train.backward()
        self.backend.mask_gradients()
        self.train.optimizer.step()

    def update(self) -> None:
        """Take a step that updates the masks, and the next one, which builds their index."""
        self.backend.dense_gradients(True)
        self.train.backward()
        self.rigl()
        self.backend.moved(self.train.masks)
        self.backend.mask_gradients()
        self.train.optimizer.step()
        self.backend.dense_gradients(False)
        self.step()
