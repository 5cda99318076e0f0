"""What a run stores, for the message that its device is out of memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ..masks import Masks
from ..masks.sharded import local
from .sharding import Sharded

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
"""In messages of CUDA and its libraries, of other accelerators, and of the CPU."""

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))
    )


def stored(net: nn.Module, optimizers: Iterable[torch.optim.Optimizer], masks: Masks | None) -> dict[str, int]:
    """Return the bytes that a rank stores at least, by what they are for, activations not included.

    The state of an optimizer counts from its first step on.
    """
    states = (value for optimizer in optimizers for state in optimizer.state.values() for value in state.values())
    return {
        "weights": _bytes([*net.parameters(), *net.buffers()]),
        "gradients": _bytes(parameter for parameter in net.parameters() if parameter.requires_grad),
        "optimizer state": _bytes(value for value in states if isinstance(value, Tensor)),
        "masks": masks.nbytes if masks else 0,
    }


def out_of_memory(trainer: pl.Trainer, net: nn.Module, masks: Masks | None, batch_size: int | None) -> str:
    """Return one line that says what a run stores, and what would make it fit.

    Args:
        batch_size: Samples of a batch of a device, if they are known.
    """
    device, parts = trainer.strategy.root_device, stored(net, trainer.optimizers, masks)
    where = str(device)
    if device.type == "cuda":
        where += f", which has {readable(torch.cuda.get_device_properties(device).total_memory)}"
        parts["activations and other tensors"] = max(0, torch.cuda.max_memory_allocated(device) - sum(parts.values()))
    listed = ", ".join(f"{name} {readable(size)}" for name, size in parts.items() if size)
    return f"out of memory on {where}: {listed}; {', or '.join(_advice(trainer, batch_size))}"


def readable(size: int) -> str:
    """Return a number of bytes in decimal units."""
    for unit, factor in UNITS:
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _advice(trainer: pl.Trainer, batch_size: int | None) -> Iterator[str]:
    """Options that need less memory."""
    accumulated = 2 * trainer.accumulate_grad_batches
    if batch_size is None or batch_size > 1:
        half = batch_size // 2 if batch_size else "HALF"
        yield f"try dataset.batch_size={half} trainer.accumulate_grad_batches={accumulated}"
    if trainer.precision == "32-true":
        yield "trainer.precision=bf16-mixed"
    yield "model.checkpointing=true where the model has it"
    if not isinstance(trainer.strategy, Sharded):
        yield "trainer=fsdp on several devices"
    yield "a smaller network"


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(local(tensor).nbytes for tensor in tensors)
