"""Time of a prediction with the sparse kernels, relative to the original dense network with its norms folded.

For AVX2 alone, see `sparse`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from sparseift import Masks, sparsify
from sparseift.inference import CompactNetwork, Packed, capture
from sparseift.kernels import load
from sparseift.models import resnet18_cifar

from .harness import Figure, Phase, Scale, fastest, row
from .network import CLASSES
from .sparse import LAYOUTS

AT_MOST = {0.75: 1.6, 0.9: 2.0, 0.95: 2.4}
"""Largest ratio to the original dense network with a batch of `LIMITED`, by sparsity."""

LIMITED = 32


@row("a prediction of ResNet-18 with the sparse kernels, Sparse Wide at three sparsities", quick=False)
def inference(scale: Scale) -> Iterator[Figure]:
    torch.manual_seed(0)
    width, image = scale(64, 8), scale(32, 8)
    dense = resnet18_cifar(CLASSES, 3, width).eval()
    layouts = {layout: fuse(dense).to(memory_format=layout) for layout in LAYOUTS}
    compact = {sparsity: compact_network(dense, sparsity, torch.empty(1, 3, image, image)) for sparsity in AT_MOST}
    for batch in (1, 8, LIMITED):
        x = torch.randn(scale(batch, 2), 3, image, image)
        phases = [
            Phase(f"batch {batch}: dense network, {layout}", prediction(net, x.to(memory_format=layout)))
            for layout, net in layouts.items()
        ]
        phases += [
            Phase(f"batch {batch}: sparsity {sparsity} ({load()})", prediction(net, x))
            for sparsity, net in compact.items()
        ]
        *denses, a, b, c = scale.timed(phases, rounds=scale(11, 2), warmup=2, inner=scale(LIMITED // batch, 1))
        base = fastest(denses)
        yield base
        for sparsity, figure in zip(AT_MOST, (a, b, c), strict=True):
            yield figure.over(base, at_most=AT_MOST[sparsity] if batch == LIMITED else None)


def compact_network(dense: nn.Module, sparsity: float, example: Tensor) -> CompactNetwork:
    """Return the network that a compact file of a run at this sparsity has."""
    net, plan = sparsify(dense, "sparse_wide", sparsity, example)
    masks = Masks.random(net, plan, seed=0)
    masks.apply()
    program, tensors = capture(net, example)
    masked = {f"{name}.weight": masks[name] for name in masks}
    packed = {name: Packed.of(tensor, masked[name]) if name in masked else tensor for name, tensor in tensors.items()}
    return CompactNetwork(program, packed)


def prediction(net: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a function that predicts a batch."""

    @torch.inference_mode()
    def run() -> None:
        net(x)

    return run
