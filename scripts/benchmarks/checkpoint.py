"""Size of checkpoints, and time to write and read them."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from sparseift.masks.history import MaskHistory
from sparseift.sparsifiers import RigL
from sparseift.training.checkpoints.codec import packed, unpacked

from .harness import Figure, Phase, Scale, row
from .network import training
from .overhead import SCHEDULE, Mover


@row("size and time of a checkpoint at sparsity 0.9, with momentum, masks and mask history, unpacked and packed")
def checkpoint(scale: Scale) -> Iterable[Figure]:
    train, history = training(scale, batch=8, sparsity=0.9), MaskHistory()
    history.observe(train.masks)
    train.masked_step()
    train.backward()
    Mover(train, RigL(**SCHEDULE))()
    history.observe(train.masks)
    train.optimizer.step()
    content = {
        "state_dict": {f"net.{name}": tensor for name, tensor in train.net.state_dict().items()},
        "optimizer_states": [train.optimizer.state_dict()],
        "callbacks": {
            "masks": {"masks": train.masks.state_dict(), "active": train.masks.active},
            "history": history.state_dict(),
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        dense, small = Path(folder) / "dense.ckpt", Path(folder) / "packed.ckpt"
        phases = [
            Phase("write unpacked", lambda: write(content, dense)),
            Phase("pack and write", lambda: write(packed(content), small)),
            Phase("read unpacked", lambda: torch.load(dense, weights_only=True)),
            Phase("read and unpack", lambda: unpacked(torch.load(small, weights_only=True))),
        ]
        writing, packing, reading, unpacking = scale.timed(phases, rounds=scale(3, 1), warmup=1)
        sizes = [
            Figure(name, "MB", [path.stat().st_size / 1e6]) for name, path in (("unpacked", dense), ("packed", small))
        ]
    return [
        sizes[0],
        sizes[1].over(sizes[0]),
        writing,
        packing.over(writing),
        reading,
        unpacking.over(reading),
    ]


def write(content: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
