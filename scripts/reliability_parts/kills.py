"""Kill runs with SIGKILL at random moments, resume them, and compare with runs that were not killed."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ._processes import Process, parallel, program, quick
from ._row import Row
from ._runs import difference

EVERY_4 = "sparsifier.update_interval=4"
RUN = ("recipe.epochs=3", "checkpoint.every_n_steps=3")
"""30 optimizer steps."""

TWO_RANKS = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "dataset.batch_size=64")
KINDS: dict[str, tuple[str, ...]] = {
    "dense": ("member=dense",),
    "none": ("sparsifier=none",),
    "static": ("sparsifier=static",),
    "set": ("sparsifier=set", EVERY_4),
    "rigl": ("sparsifier=rigl", EVERY_4),
    "set_itop": ("sparsifier=set_itop", EVERY_4),
    "rigl_itop": ("sparsifier=rigl_itop", EVERY_4),
    "gmp": ("sparsifier=gmp", EVERY_4),
    "granet": ("sparsifier=granet", EVERY_4),
    "dense_warmup": ("sparsifier=dense_warmup", "sparsifier.until=0.2", f"{EVERY_4.replace('.', '.then.')}"),
    "snip": ("sparsifier=snip",),
    "grasp": ("sparsifier=grasp", "sparsifier.batches=4"),
    "force": ("sparsifier=force", "sparsifier.batches=3", "sparsifier.iterations=5"),
    "synflow": ("sparsifier=synflow", "sparsifier.iterations=20"),
    "blocks": ("sparsifier=rigl", EVERY_4, "pattern=block", "pattern.size=2", "model.base_width=8"),
    "ema": ("sparsifier=rigl", EVERY_4, "callbacks=[ema]", "callbacks.ema.decay=0.9"),
    "accumulated": ("sparsifier=rigl", EVERY_4, "trainer.accumulate_grad_batches=2", "dataset.batch_size=64"),
    "two ranks, rigl": ("sparsifier=rigl", EVERY_4, *TWO_RANKS),
    "two ranks, set": ("sparsifier=set", EVERY_4, *TWO_RANKS),
}
MOST_KILLS = 3


@dataclass(frozen=True)
class Case:
    kind: str
    seed: str
    folder: Path

    @property
    def ranks(self) -> int:
        return 2 if self.kind.startswith("two ranks") else 1

    def arguments(self, run: str) -> list[str]:
        return quick(*RUN, *KINDS[self.kind], "resume=auto", f"hydra.run.dir={run}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5, help="runs of each kind (%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of runs (all)")


def run(options: argparse.Namespace) -> Iterator[Row]:
    cases = [
        Case(kind, f"{options.seed} {kind}", options.folder / kind.replace(", ", "_").replace(" ", "_"))
        for kind in options.kinds
    ]
    for of_kind in parallel(partial(of_one_kind, options.runs), cases, options.processes):
        yield from of_kind


def of_one_kind(runs: int, case: Case) -> list[Row]:
    case.folder.mkdir()
    reference = program(case.arguments("reference"), case.folder, ranks=case.ranks)
    if reference.code != 0:
        return [Row(case.kind, "not killed", f"exit code {reference.code}", False, reference.last_line)]
    again = program(case.arguments("again"), case.folder, ranks=case.ranks)  # not slowed down by imports
    chance = random.Random(case.seed)
    return [killed(case, number, again.seconds, chance) for number in range(runs)]


def killed(case: Case, number: int, duration: float, chance: random.Random) -> Row:
    """Kill a run up to MOST_KILLS times, each time at a random moment of the duration of a whole run, and finish it."""
    arguments, moments = case.arguments(f"run{number}"), []
    for _ in range(chance.randint(1, MOST_KILLS)):
        moment = chance.uniform(0, duration)
        process = Process(arguments, case.folder, ranks=case.ranks)
        time.sleep(moment)
        if process.alive:
            moments.append(f"{moment:.2f}")
        process.kill()
    kills = f"run {number}, killed after {', '.join(moments)} s" if moments else f"run {number}, ended before the kill"
    end = program(arguments, case.folder, ranks=case.ranks)
    if end.code != 0 or end.traceback:
        return Row(case.kind, kills, f"exit code {end.code}", False, end.last_line)
    differs = difference(case.folder / f"run{number}", case.folder / "reference")
    return Row(case.kind, kills, differs or "same bits", not differs)
