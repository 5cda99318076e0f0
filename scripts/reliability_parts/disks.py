"""Train on disks that become full, then with enough space, and compare with a run that always had it."""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ._processes import Outcome, Process, parallel, program, quick
from ._row import Row
from ._runs import difference

RUN = ("recipe.epochs=2", "checkpoint.every_n_steps=3", "sparsifier.update_interval=4", "logger=[tensorboard]")
RUN += ("export=true",)
ENOUGH = 2**28


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--disks", type=int, default=20, help="small disks, and disks filled later (%(default)s)")
    parser.add_argument("--limits", type=int, default=10, help="runs with a limit on the size of a file (%(default)s)")


def run(options: argparse.Namespace) -> Iterator[Row]:
    reference = options.folder / "reference"
    end = program(arguments("reference"), options.folder)
    assert end.code == 0, end
    sizes = [file.stat().st_size for file in reference.rglob("*") if file.is_file()]
    chance = random.Random(options.seed)
    duration = program(arguments("again"), options.folder).seconds  # without the imports
    for kind, count, draw in (
        (on_small_disk, options.disks, lambda: chance.randrange(64 * 1024, sum(sizes) + max(sizes))),
        (on_disk_filled_later, options.disks, lambda: chance.uniform(0.2, 1.2) * duration),
        (with_limit, options.limits, lambda: chance.randrange(max(sizes))),
    ):
        cases = [(options.folder / f"{kind.__name__}{number}", draw()) for number in range(count)]
        yield from parallel(kind, cases, options.processes)


def arguments(run: str) -> list[str]:
    return quick(*RUN, "resume=auto", f"hydra.run.dir={run}")


def on_small_disk(case: tuple[Path, int]) -> Row:
    """Train in a file system of this size, and after it has grown."""
    folder, size = case

    def train() -> Outcome:
        full = program(arguments("disk/run"), folder)
        mount("-o", f"remount,size={ENOUGH}", str(folder / "disk"))
        return full

    return on_disk(partial(Row, "small disk", f"{size} bytes"), folder, size, train)


def on_disk_filled_later(case: tuple[Path, float]) -> Row:
    """Train in a file system that another file fills after some seconds, and after that file is gone."""
    folder, moment = case

    def train() -> Outcome:
        training = Process(arguments("disk/run"), folder)
        time.sleep(moment)
        fill(folder / "disk/filler")
        full = training.wait()
        (folder / "disk/filler").unlink()
        return full

    return on_disk(partial(Row, "disk filled later", f"after {moment:.2f} s"), folder, ENOUGH, train)


def on_disk(report: Callable[..., Row], folder: Path, size: int, train: Callable[[], Outcome]) -> Row:
    """Train in a file system of this size, and again.

    Args:
        train: Trains until there is no space, and then makes space.
    """
    with mounted(folder / "disk", size) as reason:
        if reason:
            return report("skipped", True, reason)
        full = train()
        resumed = program(arguments("disk/run"), folder)
        return outcome(report, full, resumed, folder / "disk/run", folder.parent / "reference")


def fill(file: Path) -> None:
    """Write until no space is left."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(2**20))


def with_limit(case: tuple[Path, int]) -> Row:
    """Train with a limit on the size of every file (RLIMIT_FSIZE), and without."""
    folder, size = case
    folder.mkdir()
    limited = program(arguments("run"), folder, prepare=partial(limit_files, size))
    report = partial(Row, "limited size of a file", f"{size} bytes")
    return outcome(report, limited, program(arguments("run"), folder), folder / "run", folder.parent / "reference")


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def outcome(report: Callable[..., Row], full: Outcome, resumed: Outcome, run: Path, reference: Path) -> Row:
    """Judge the run without space, and the same command with space."""
    if full.traceback or full.code not in (0, 2) or (full.code == 2 and not full.last_line.startswith("sparseift: ")):
        return report(f"exit code {full.code} without a reason in one line", False, full.last_line)
    ended = "finished" if full.code == 0 else "one line"
    if resumed.code != 0 or resumed.traceback:
        return report(f"{ended}, then exit code {resumed.code}", False, f"{full.last_line}; {resumed.last_line}")
    differs = difference(run, reference)
    return report(f"{ended}, then {'another end' if differs else 'same bits'}", not differs, differs or full.last_line)


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[str]:
    """Mount a tmpfs, and unmount it in the end. Yields the reason why this is not possible, or an empty string."""
    folder.mkdir(parents=True)
    done = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield done.stderr.strip()
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", folder], check=True)


def mount(*options: str) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", *options], capture_output=True, text=True)
