"""How much memory training takes, at most."""

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
"""Bytes of a stored weight: itself, its gradient, its momentum."""
PER_MASK = 1
AT_UPDATE = 4 + 4
"""Bytes of a weight of the largest layer, while its mask moves: its score, and marks of places."""

GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TOP_PAD_": "0"}
"""With these glibc returns what is freed at once, so that the peak is of what was in use."""


@row(f"the peak of three steps at sparsity {SPARSITY}, the second with an update, in a process of its own a member")
def memory(scale: Scale) -> Iterable[Figure]:
    for member in MEMBERS[: scale(len(MEMBERS), 1)]:
        plain, rigl = (peak(member, kind, scale) for kind in ("without masks", "rigl"))
        bound = plain["peak"] + PER_MASK * rigl["masked"] + AT_UPDATE * rigl["largest"]
        weights = Figure(f"{member}: weights, gradients, momenta", "MiB", [PER_WEIGHT * plain["stored"] / 2**20])
        weights.note = f"{PER_WEIGHT} bytes of each of {plain['stored']:,} stored weights"
        without = Figure(f"{member}: peak without masks", "MiB", [plain["peak"] / 2**20])
        yield from (weights, without, Figure(f"{member}: peak with RigL", "MiB", [rigl["peak"] / 2**20]).over(without))
        limit = Figure(f"{member}: bound with RigL", "MiB", [bound / 2**20])
        limit.note = f"{PER_MASK} more byte of each masked weight, {AT_UPDATE} of each weight of the largest layer"
        yield limit
        yield Figure(f"{member}: peak over bound", samples=[rigl["peak"] / bound], at_most=1.01)


def peak(member: str, kind: str, scale: Scale) -> dict[str, int]:
    """Bytes that the process of peak.py held at most, and numbers of weights."""
    program = Path(__file__).with_name("peak.py")
    words = [sys.executable, program, member, kind, SPARSITY, scale(64, 8), scale(16, 8)]
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR} | GIVES_BACK
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)
