"""Whether masks, losses and zeros are on a GPU what they are on a CPU, and whether steps wait."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.harness import Scale
from benchmarks.network import Training, training
from benchmarks.overhead import SCHEDULE

from sparseift.masks.topk import by_sample, by_threshold
from sparseift.sparsifiers import SET, RigL, Update

from .check import LeftOut, Outcome, Setting, check

STEPS, INTERVAL = 20, 5
LOSSES = 0.02
"""Maximum difference of losses, as a fraction. Rounding errors grow with every step."""


def small(setting: Setting, device: str) -> Training:
    """A narrow network, equal on every device."""
    torch.manual_seed(0)
    return training(Scale(device=device), width=setting(32, 8), batch=setting(64, 16))


@check("equal weights and gradients give equal masks, whatever the device and the way to select the largest")
def same_masks(setting: Setting) -> Outcome:
    found: dict[str, Any] = {}
    for kind in (RigL, SET):
        here, there = small(setting, "cpu"), small(setting, setting.device)
        here.backward()
        for own, other in zip(here.net.parameters(), there.net.parameters(), strict=True):
            other.grad = torch.empty_like(other).copy_(own.grad)
        for train in (here, there):
            kind(**SCHEDULE).update(train.masks, [train.optimizer], Update(100, 10**6, seed=0))
        different = [name for name in here.masks if not torch.equal(here.masks[name], there.masks[name].cpu())]
        sums = torch.equal(here.masks.checksums(), there.masks.checksums().cpu())
        found[kind.__name__] = {"layers": len(here.masks), "different": len(different), "checksums equal": sums}
    scores = torch.randn(10**6).abs()
    part = torch.rand(10**6) < 0.5
    ways = by_sample(scores, 10**5, part), by_threshold(scores.to(setting.device), 10**5, part.to(setting.device)).cpu()
    found["ways to select the largest agree"] = torch.equal(*ways)
    rows = [found[kind.__name__] for kind in (RigL, SET)]
    agree = all(not row["different"] and row["checksums equal"] for row in rows)
    return Outcome(agree and found["ways to select the largest agree"], found)


@check(f"the losses of {STEPS} steps with mask updates are those of a CPU, up to rounding")
def same_losses(setting: Setting) -> Outcome:
    setting.needs_gpu("a comparison with a CPU")
    curves = {device: losses(small(setting, device)) for device in ("cpu", setting.device)}
    differences = [abs(a - b) / abs(a) for a, b in zip(*curves.values(), strict=True)]
    last = {device: curve[-1] for device, curve in curves.items()}
    return Outcome(max(differences) <= LOSSES, {"largest difference": max(differences), "last loss": last})


def losses(train: Training) -> list[float]:
    rigl, found = RigL(**{**SCHEDULE, "update_interval": INTERVAL}), []
    for step in range(1, STEPS + 1):
        train.optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(train.net(train.images), train.labels)
        loss.backward()
        if step % INTERVAL == 0:
            rigl.update(train.masks, [train.optimizer], Update(step, 10**6, seed=0))
        train.masks.mask_gradients()
        train.optimizer.step()
        found.append(loss.item())
    return found


@check("no step between mask updates waits for the GPU (torch.cuda.set_sync_debug_mode)")
def no_waits(setting: Setting) -> Outcome:
    if setting.device == "cpu":
        raise LeftOut("a CPU has no waits to notice; tests/test_hot_path.py counts the operations that would wait")
    train = small(setting, setting.device)
    for _ in range(3):
        train.masked_step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(STEPS):
            train.masked_step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    return Outcome(train.masks.nonzero_outside() == [], {"steps": STEPS})
