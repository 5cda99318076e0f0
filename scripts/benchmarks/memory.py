"""Peak memory of training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .harness import Figure, Scale, row
from .machine import ALLOCATOR

MEMBERS = ("sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped")
SPARSITY = 0.9
PER_WEIGHT = 4 + 4 + 4
"""Bytes per stored weight: weight, gradient, momentum."""
PER_MASK = 1
AT_UPDATE = 4 + 4
"""Bytes per weight of the largest layer during a mask update: its score, and temporary masks."""

GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}
"""With these settings glibc returns freed memory at once, so that the peak is the memory in use."""


@row(f"peak memory of three steps at sparsity {SPARSITY}, with a mask update in the second; one process per member")
def memory(scale: Scale) -> Iterable[Figure]:
    for member in MEMBERS[: scale(len(MEMBERS), 1)]:
        plain, rigl = (peak(member, kind, scale) for kind in ("without masks", "rigl"))
        bound = plain["peak"] + PER_MASK * rigl["masked"] + AT_UPDATE * rigl["largest"]
        weights = Figure(f"{member}: weights, gradients, momentum", "MiB", [PER_WEIGHT * plain["stored"] / 2**20])
        weights.note = f"{PER_WEIGHT} bytes for each of {plain['stored']:,} stored weights"
        without = Figure(f"{member}: peak without masks", "MiB", [plain["peak"] / 2**20])
        yield from (weights, without, Figure(f"{member}: peak with RigL", "MiB", [rigl["peak"] / 2**20]).over(without))
        limit = Figure(f"{member}: expected peak with RigL", "MiB", [bound / 2**20])
        limit.note = f"{PER_MASK} byte more per masked weight, {AT_UPDATE} per weight of the largest layer"
        yield limit
        yield Figure(f"{member}: peak / expected peak", samples=[rigl["peak"] / bound], at_most=1.01)


def peak(member: str, kind: str, scale: Scale) -> dict[str, int]:
    """Return the peak bytes of a peak.py process, and the numbers of weights."""
    program = Path(__file__).with_name("peak.py")
    words = [sys.executable, program, member, kind, SPARSITY, scale(64, 8), scale(16, 8)]
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR} | GIVES_BACK
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)
