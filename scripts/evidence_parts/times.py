"""Measures the time of a training step of each row of the grid: docs/evidence/times.json.

The runs themselves train two at a time, on a machine that may be busy, so that their seconds cannot be compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.harness import Phase, Scale
from benchmarks.machine import machine, versions, with_quiet_allocator
from omegaconf import OmegaConf

from sparseift.app.build import build_run
from sparseift.app.compose import composed
from sparseift.kernels import load
from sparseift.sparsifiers import Sparsifier, Update

from .grid import RUNS, Part, parts

FILE = RUNS / "times.json"
TIMED = ("images", "text")
BACKENDS = ("masked", "sparse")
OF_A_NETWORK = ("model", "member", "sparsity", "pattern", "sparsifier", "backend")
OF_A_RUN = ("task", "dataset", "recipe", "trainer", "init", "checkpoint")
NO_UPDATES = Sparsifier()
ROUNDS, STEPS = 15, 8  # samples of each time, and training steps of a sample


class Stepper:
    """A run that is trained step by step with one batch, without a Trainer's loop.

    Args:
        overrides: Those of a run.
        backend: What computes masked layers.
        seed: Of the run.
    """

    def __init__(self, overrides: str, backend: str, seed: int) -> None:
        typed = [*overrides.split(), f"backend={backend}", "trainer=cpu"]
        chosen = composed(typed, OF_A_NETWORK + OF_A_RUN)
        config = OmegaConf.create({**chosen, "callbacks": {}, "logger": {}, "seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            self.run = build_run(config, Path(folder), {})
        self.run.net.train()
        self.optimizer = self._optimizer()
        self.clipped = config.trainer.get("gradient_clip_val")
        data = self.run.data
        self.batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
        callback = self.run.mask_callback
        self.sparsifier = callback.sparsifier if callback else NO_UPDATES
        self.backend = callback.backend if callback else None
        self.updates = 0
        if self.run.masks:
            self.run.masks.apply()
            callback.backend.attach(self.run.net, self.run.masks)

    def _optimizer(self) -> torch.optim.Optimizer:
        made: Any = self.run.module.configure_optimizers()
        return made["optimizer"] if isinstance(made, dict) else made

    @property
    def share_of_updates(self) -> float:
        """Mask updates per step of the whole run."""
        if not self.sparsifier.moves:
            return 0.0
        total = self.run.trainer.max_epochs * len(self.run.data.train_dataloader())
        total = total if self.run.trainer.max_steps < 0 else min(total, self.run.trainer.max_steps)
        return len(self.sparsifier.updates(total)) / total

    def step(self, update: bool = False) -> None:
        """Take a training step."""
        task, masks = self.run.task, self.run.masks
        if self.backend:
            self.backend.dense_gradients(update and self.sparsifier.dense_gradient)
        self.optimizer.zero_grad()
        inputs, options = task.inputs(self.batch)
        task.training_loss(self.run.net(*inputs, **options), self.batch).backward()
        if update and masks:
            self.updates += 1
            self.sparsifier.update(masks, [self.optimizer], Update(self.updates, 10**6, seed=0))
            self.backend.moved(masks)
        if self.backend:
            self.backend.mask_gradients()
        if self.clipped:
            torch.nn.utils.clip_grad_norm_(self.run.net.parameters(), self.clipped)
        self.optimizer.step()

    def update(self) -> None:
        """Take a step that updates the masks, and the next one, for which the sparse backend makes a new index."""
        self.step(update=True)
        self.step()


def times(part: Part, scale: Scale) -> dict[str, dict[str, list[float]]]:
    """Return milliseconds of a training step by row and backend, mask updates included in proportion.

    Dense networks have no masks, so they are timed once. So are runs whose masks become sparser, for which the time of
    the sparse kernels changes.
    """
    runs = {(row, backend): stepper for row, backend, stepper in _steppers(part)}
    phases = [Phase(" ".join(key), one.step) for key, one in runs.items()]
    moving = {key: one for key, one in runs.items() if one.share_of_updates}
    phases += [Phase(" ".join(key), one.update) for key, one in moving.items()]
    figures = [figure.samples for figure in scale.timed(phases, scale(ROUNDS, 2), inner=scale(STEPS, 1))]
    steps, updates = dict(zip(runs, figures, strict=False)), dict(zip(moving, figures[len(runs) :], strict=True))
    found: dict[str, dict[str, list[float]]] = {row: {} for row in part.rows}
    for (row, backend), stepper in runs.items():
        samples, share = steps[row, backend], stepper.share_of_updates
        both = updates.get((row, backend), [2 * one for one in samples])
        found[row][backend] = [(1 - 2 * share) * one + share * two for one, two in zip(samples, both, strict=True)]
    return found


def _steppers(part: Part) -> Iterator[tuple[str, str, Stepper]]:
    for row, overrides in part.rows.items():
        for backend in BACKENDS:
            stepper = Stepper(f"{part.common} {overrides}", backend, part.seeds[0])
            yield row, backend, stepper
            if not stepper.run.masks or stepper.sparsifier.prunes:
                break


def relative(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Return times relative to those of the dense network in the same round: median, first and third quartile."""
    dense = found["dense"][BACKENDS[0]]
    return {
        row: {
            backend: _quartiles([own / other for own, other in zip(samples, dense, strict=True)])
            for backend, samples in by_backend.items()
        }
        for row, by_backend in found.items()
    }


def _quartiles(samples: list[float]) -> list[float]:
    ordered = sorted(samples)
    return [round(one, 3) for one in (median(ordered), ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4])]


def main() -> None:
    torch.set_num_threads(1)
    scale = Scale(clock="cpu")
    found = {name: relative(times(part, scale)) for name, part in parts().items() if name in TIMED}
    about = {"machine": machine(), "versions": versions(), "kernels": str(load()), "times": found}
    FILE.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    with_quiet_allocator()
    main()
