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


@row(f"the peak of two steps and an update at sparsity {SPARSITY}, in a process of its own for each member")
def memory(scale: Scale) -> Iterable[Figure]:
    for member in MEMBERS[: scale(len(MEMBERS), 1)]:
        peaks = {kind: peak(member, kind, scale) for kind in ("without masks", "static", "rigl")}
        plain, masked = peaks["without masks"], peaks["static"]["masked"]
        bound = plain["peak"] + PER_MASK * masked + AT_UPDATE * peaks["rigl"]["largest"]
        for kind, found in peaks.items():
            yield Figure(
                f"{member}, {kind}", "MiB", [found["peak"] / 2**20], note=f"{found['stored']:,} weights stored"
            )
        yield Figure(f"{member}: weights, gradients, momenta", "MiB", [PER_WEIGHT * plain["stored"] / 2**20])
        more = (peaks["static"]["peak"] - plain["peak"]) / masked
        yield Figure(f"{member}: masks, for each masked weight", "bytes", [more], at_most=None if scale.quick else 1.1)
        yield Figure(f"{member}: peak with RigL over the bound", "", [peaks["rigl"]["peak"] / bound], at_most=1.02)


def peak(member: str, kind: str, scale: Scale) -> dict[str, int]:
    """Bytes that the process of peak.py held at most, and numbers of weights."""
    program = Path(__file__).with_name("peak.py")
    words = [sys.executable, program, member, kind, SPARSITY, scale(64, 8), scale(32, 8)]
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR} | GIVES_BACK
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)
