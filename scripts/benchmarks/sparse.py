"""Time of training steps with the sparse backend, relative to the original dense network and to masks.

The instruction set is that of `sparseift.kernels`. For AVX2 alone, limit torch's kernels as well:
SPARSEIFT_INSTRUCTION_SET=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 scripts/bench sparse
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sparseift.backends import Sparse
from sparseift.kernels import load
from sparseift.sparsifiers import RigL

from .harness import Figure, Phase, Scale, row
from .network import Training, training
from .overhead import INTERVAL, SCHEDULE, Mover

AT_MOST = {0.75: 1.6, 0.9: 2.0, 0.95: 2.6}
"""Largest ratio of a sparse step to that of the original dense network, by sparsity."""

AT_LEAST = {0.75: 2.7, 0.9: 6.0, 0.95: 9.0}
"""Smallest ratio of a masked step to a sparse one."""


@row("a training step of ResNet-18 with the sparse backend, Sparse Wide at three sparsities", quick=False)
def sparse(scale: Scale) -> Iterator[Figure]:
    for batch in (32, 128):
        for sparsity in AT_MOST:
            yield from _steps(scale, batch, sparsity)


def _steps(scale: Scale, batch: int, sparsity: float) -> Iterator[Figure]:
    name = f"batch {batch}, sparsity {sparsity}: "
    dense = [
        Phase(f"{name}dense network, {layout}", training(scale, 64, batch, None, layout).step)
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    run = SparseTraining(training(scale, 64, batch, sparsity))
    phases = [
        *dense,
        Phase(f"{name}sparse ({load()})", run.step),
        Phase(f"{name}sparse, step with an update of RigL and the next", run.update),
    ]
    *denses, step, update = scale.timed(phases, rounds=scale(7, 2), warmup=1)
    base = min(denses, key=lambda figure: figure.median or 0)
    yield base
    yield step.over(base)
    yield update
    spent = [((INTERVAL - 2) * one + both) / INTERVAL for one, both in zip(step.samples, update.samples, strict=True)]
    average = Figure(f"{name}sparse, with an update every {INTERVAL} steps", "ms", spent)
    yield average.over(base, at_most=AT_MOST[sparsity])
    masked = training(scale, 64, batch, sparsity)
    (slow,) = scale.timed([Phase(f"{name}masked", masked.masked_step)], rounds=scale(2, 1), warmup=1)
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
