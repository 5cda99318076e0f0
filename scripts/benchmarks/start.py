"""Time before the first training step."""

import subprocess
import sys
from collections.abc import Iterable

import torch

from sparseift import Masks, sparsify
from sparseift.models import resnet18_cifar

from .harness import Figure, Phase, Scale, row


@row("time of transformation, plan and initial masks")
def plan(scale: Scale) -> Iterable[Figure]:
    width = scale(64, 8)
    dense, example = resnet18_cifar(100, 3, width), torch.empty(1, 3, 32, 32)
    net, planned = sparsify(dense, "sparse_wide", 0.75, example)
    phases = [
        Phase("dense network", lambda: resnet18_cifar(100, 3, width)),
        Phase("sparsify", lambda: sparsify(dense, "sparse_wide", 0.75, example)),
        Phase("initial masks", lambda: Masks.random(net, planned, 0)),
    ]
    return scale.timed(phases, rounds=scale(5, 1), warmup=1)


@row("start-up time of the programs, one process each")
def start(scale: Scale) -> Iterable[Figure]:
    """profile takes longer than the import of torch mostly because torch's meta device imports the compiler."""

    def program(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    phases = [
        Phase("import torch", lambda: program("-c", "import torch")),
        Phase("sparseift.profile", lambda: program("-m", "sparseift.profile")),
        Phase("sparseift.train --help", lambda: program("-m", "sparseift.train", "--help")),
    ]
    return scale.timed(phases, rounds=scale(5, 1), warmup=scale(1, 0))
