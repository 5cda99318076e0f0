"""Throughput, memory and the cost of masks."""

from __future__ import annotations

import time
from contextlib import nullcontext
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.harness import Figure, Scale
from benchmarks.network import Training, training
from benchmarks.overhead import judged, phases_of

from .check import Outcome, Setting, check

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = {
    "float32": ("highest", None),
    "TF32": ("high", None),
    "bfloat16": ("highest", torch.bfloat16),
    "float16": ("highest", torch.float16),
}
"""Precision of products of float32 matrices, and the type of autocast."""

OF_CPU = (("float32", "NCHW", False), ("float32", "channels_last", False), ("bfloat16", "NCHW", False))
"""Formats that a CPU is checked with."""

NOT_OF_CPU = "TF32 and float16, which are of GPUs; compiled networks, which take a C++ compiler minutes"


@check("throughput and memory by precision, memory format and compilation, with exact zeros outside the masks")
def formats(setting: Setting) -> Outcome:
    on_gpu = setting.device == "cuda"
    found: dict[str, Any] = {}
    for precision, layout, compiled in product(PRECISIONS, LAYOUTS, (False, True)) if on_gpu else OF_CPU:
        name = f"{precision}, {layout}, {'compiled' if compiled else 'eager'}"
        try:
            found[name] = measured(setting, precision, layout, compiled)
        except Exception as error:  # one format that a machine lacks is not the end of the others
            found[name] = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
    passed = all(row.get("nonzero outside masks") == 0 for row in found.values())
    return Outcome(passed, found if on_gpu else {**found, "left out on a CPU": NOT_OF_CPU})


def measured(setting: Setting, precision: str, layout: str, compiled: bool) -> dict[str, Any]:
    """Return samples per second and peak memory of training steps."""
    on_gpu, batch = setting.device == "cuda", setting(64, 4)
    multiply, dtype = PRECISIONS[precision]
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(multiply)
    torch.backends.cudnn.allow_tf32 = multiply == "high"
    try:
        scale = Scale(device=setting.device)
        train = training(scale, setting(64 if on_gpu else 8, 8), batch, layout=LAYOUTS[layout])
        if compiled:
            torch.compiler.reset()
            train.net.compile(dynamic=False)
        scaler = torch.amp.GradScaler(setting.device, enabled=dtype == torch.float16)
        step = Mixed(train, dtype, scaler)
        for _ in range(3):
            step()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        seconds = time_of(step, setting(20 if on_gpu else 5, 2), on_gpu)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    outside = sum(int(weight[~train.masks[name]].count_nonzero()) for name, weight in train.masks.weights.items())
    memory = {"peak GB": torch.cuda.max_memory_allocated() / 1e9} if on_gpu else {}
    return {"samples/s": batch / seconds, **memory, "nonzero outside masks": outside}


class Mixed:
    """A step in mixed precision."""

    def __init__(self, train: Training, dtype: torch.dtype | None, scaler: torch.amp.GradScaler):
        self.train, self.dtype, self.scaler = train, dtype, scaler

    def __call__(self) -> None:
        train = self.train
        train.optimizer.zero_grad()
        device = train.images.device.type
        with torch.autocast(device, self.dtype) if self.dtype else nullcontext():
            loss = F.cross_entropy(train.net(train.images), train.labels)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(train.optimizer)
        train.masks.mask_gradients()
        self.scaler.step(train.optimizer)
        self.scaler.update()


def time_of(step: Mixed, count: int, on_gpu: bool) -> float:
    """Return the seconds of one step."""
    if on_gpu:
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        step()
    if on_gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


@check("time of masking and of updates, relative to a step without masks, at widths 64 to 202")
def overhead(setting: Setting) -> Outcome:
    scale, found = Scale(setting.quick, clock="wall", device=setting.device), {}
    sizes = ((32, 64), (45, 64), (64, 64), (101, 64)) if setting.device == "cuda" else ((8, 16),)
    for width, batch in sizes:
        train = training(scale, width, batch)
        figures = judged(scale.timed(phases_of(train), rounds=setting(20 if setting.device == "cuda" else 3, 2)))
        row = {figure.name: shown(figure) for figure in figures}
        found[f"width {train.net.conv1.out_channels}, batch {len(train.images)}"] = row
    return Outcome(True, found)


def shown(figure: Figure) -> str:
    ratio = "" if figure.ratio is None else f" ({figure.ratio:.4f} of a step)"
    return f"{figure.median:.3g} ms{ratio}"


@check("a trace of the profiler: three steps and an update")
def profile(setting: Setting) -> Outcome:
    scale = Scale(device=setting.device)
    train = training(scale, setting(64 if setting.device == "cuda" else 8, 8), setting(64, 4))
    update = phases_of(train)[2]
    update.prepare()
    update.run()
    update.prepare()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(3):
            with torch.profiler.record_function("step with masks"):
                train.masked_step()
        update.prepare()
        with torch.profiler.record_function("update"):
            update.run()
    trace = setting.folder / "trace.json"
    profiler.export_chrome_trace(str(trace))
    key = f"self_{'device' if setting.device == 'cuda' else 'cpu'}_time_total"
    longest = sorted(profiler.key_averages(), key=lambda event: -getattr(event, key))[:5]
    times = {event.key[:60]: f"{getattr(event, key) / 1e3:.3g} ms in {event.count} calls" for event in longest}
    return Outcome(trace.stat().st_size > 0, {"trace": trace.name, "longest": times})
