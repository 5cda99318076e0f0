"""Time of the optimizer, and of a training step by precision and memory format."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch

from .harness import Figure, Phase, Scale, row
from .machine import vector_extensions
from .network import SGD, Training, training

SPEEDUP = 1.7
BF16 = {"avx512_bf16", "amx_bf16"}
LAYOUTS = {torch.contiguous_format: "", torch.channels_last: ", channels_last"}


@row("time of one step of SGD with Nesterov momentum", everywhere=True)
def optimizer(scale: Scale) -> Iterable[Figure]:
    train = training(scale)
    train.backward()
    found = [
        Phase(kind, torch.optim.SGD(train.net.parameters(), **SGD, **{kind: True}).step)
        for kind in ("foreach", "fused")
    ]
    foreach, fused = scale.timed(found, rounds=scale(15, 2))
    return [foreach, fused.over(foreach)]


@row(
    "time of a step in bf16-mixed and channels_last, relative to float32, for a dense and a wide network, batch 4",
    everywhere=True,
)
def precision(scale: Scale) -> Iterable[Figure]:
    able = scale.device == "cuda" or bool(BF16 & set(vector_extensions()))
    for name, sparsity in (("dense", None), ("wide", 0.75)):
        trains = {layout: training(scale, batch=4, sparsity=sparsity, layout=layout) for layout in LAYOUTS}
        phases = [
            Phase(f"{name}: {kind}{LAYOUTS[layout]}", partial(step, train))
            for layout, train in trains.items()
            for kind, step in (("float32", Training.masked_step), ("bf16-mixed", mixed_step))
        ]
        float32, *others = scale.timed(phases, rounds=scale(3, 1), warmup=1)
        yield float32
        for figure in others:
            if "bf16" in figure.name and not able:
                figure.note = "the processor has no bf16 arithmetic"
            judged = able and figure.name.endswith("bf16-mixed")
            yield figure.over(float32, at_most=1 / SPEEDUP if judged else None)
        outside = sum(not_silent(train) for train in trains.values())
        yield Figure(f"{name}: nonzero weights outside the masks", samples=[outside], at_most=0)


def mixed_step(train: Training) -> None:
    with torch.autocast(train.images.device.type, torch.bfloat16):
        train.masked_step()


def not_silent(train: Training) -> int:
    return sum(int(weight[~train.masks[layer]].count_nonzero()) for layer, weight in train.masks.weights.items())
