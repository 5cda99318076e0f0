"""Training in torch's channels_last memory format."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from ...graph.examples import Example, tensor_leaves
from ...masks.inplace import laid_out_as

VECTOR = 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8
"""Number of channels that oneDNN processes at a time: the floats in a vector register."""


def suits_channels_last(trainer: pl.Trainer, example: Example) -> bool:
    """Return whether channels_last is faster: on a GPU with tensor cores, in mixed precision, for (N, C, H, W)."""
    on_gpu, mixed = trainer.strategy.root_device.type == "cuda", trainer.precision != "32-true"
    return (
        on_gpu and mixed and any(tensor.dim() == 4 and tensor.is_floating_point() for tensor in tensor_leaves(example))
    )


class ChannelsLast(pl.Callback):
    """Trains the network in the channels_last format. Results differ by rounding only.

    On the CPU, strided 1 x 1 convolutions with fewer input channels than VECTOR keep the contiguous format: in
    channels_last, oneDNN writes their weight gradient past the end of its memory (oneDNN, issue 6035).
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        pl_module.to(memory_format=torch.channels_last)
        on_cpu = trainer.strategy.root_device.type == "cpu"
        contiguous = [module for module in pl_module.modules() if on_cpu and _overruns(module)]
        for module in contiguous:
            module.to(memory_format=torch.contiguous_format)
        self._hooks = [module.register_forward_pre_hook(_contiguous) for module in contiguous]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for hook in self._hooks:
            hook.remove()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Convert the optimizer state to the format of the weights, which checkpoints lose and fused steps require."""
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                fitting = {name: value for name, value in state.items() if _fits(value, parameter)}
                state.update((name, laid_out_as(parameter, value)) for name, value in fitting.items())


def _overruns(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < VECTOR
    )


def _contiguous(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)


def _fits(value: Any, parameter: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == parameter.shape
