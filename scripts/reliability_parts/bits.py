"""Flip bits, zero pages and cut files that a resume reads, and compare what is loaded and how the resumed run ends."""

from __future__ import annotations

import argparse
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ._processes import parallel, program, quick
from ._row import Row
from ._runs import difference

PAGE = 4096
RUN = ("model.base_width=8", "recipe.epochs=2", "checkpoint.every_n_steps=3", "sparsifier.update_interval=4")
"""20 optimizer steps; last.ckpt has some 600 kB."""

TEST_BEST = "checkpoint.test=best"
HARMLESS, SILENT = "harmless: the same is loaded", "SILENT: something else is loaded"
SAME, FINISHED = "same bits in the end", "the finished run is left alone"
READ = {
    "unfinished": ("checkpoints/last.ckpt", "checkpoints/best.ckpt", "metrics.csv", ".hydra/config.yaml"),
    "finished": ("results.json", ".hydra/config.yaml"),
}
"""Files that a run with resume=auto reads or takes over from its folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flips", type=int, default=400, help="flips of one bit of each checkpoint (%(default)s)")
    parser.add_argument("--pages", type=int, default=100, help="zeroed pages, and cuts, of each (%(default)s)")
    parser.add_argument("--commands", type=int, default=8, help="whole commands for each file (%(default)s)")


def run(options: argparse.Namespace) -> Iterator[Row]:
    make_folders(options.folder)
    yield from checkpoints(options)
    cases = [
        (options.folder, state, name, how, f"{options.seed} {number}")
        for state, names in READ.items()
        for name in names
        for how in DAMAGES
        for number in range(options.commands if how == "one bit" else (options.commands + 3) // 4)
    ]
    yield from parallel(command, cases, options.processes)


def make_folders(folder: Path) -> None:
    """Make a finished run, and its folder as it was before the test: last.ckpt is of step 20, previous.ckpt of 18."""
    end = program(arguments("finished"), folder)
    assert end.code == 0, end
    shutil.copytree(folder / "finished", folder / "unfinished")
    (folder / "unfinished/results.json").unlink()


def arguments(run: str) -> list[str]:
    return quick(*RUN, TEST_BEST, "resume=auto", f"hydra.run.dir={run}")


def flip(content: bytearray, chance: random.Random) -> str:
    place = chance.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    return f"bit {place}"


def zero(content: bytearray, chance: random.Random) -> str:
    """Zero a page of the file as a file system has it."""
    page = chance.randrange(-(-len(content) // PAGE))
    end = min(len(content), (page + 1) * PAGE)
    content[page * PAGE : end] = bytes(end - page * PAGE)
    return f"page {page}"


def cut(content: bytearray, chance: random.Random) -> str:
    length = chance.randrange(len(content))
    del content[length:]
    return f"cut to {length} bytes"


DAMAGES: dict[str, Callable[[bytearray, random.Random], str]] = {
    "one bit": flip,
    "a zeroed page": zero,
    "a shorter file": cut,
}


def checkpoints(options: argparse.Namespace) -> Iterator[Row]:
    """Damage checkpoints and load them with the functions that a resume uses, in this process."""
    from sparseift.training.checkpoints import read_checkpoint

    folder = options.folder / "finished/checkpoints"
    intact = {file.name: (file.read_bytes(), read_checkpoint(file)) for file in folder.iterdir()}
    counts = {"one bit": options.flips, "a zeroed page": options.pages, "a shorter file": options.pages}
    for name, find in (("last.ckpt", True), ("best.ckpt", False)):
        chance = random.Random(f"{options.seed} {name}")
        for how, count in counts.items():
            for _ in range(count):
                content = bytearray(intact[name][0])
                case = DAMAGES[how](content, chance)
                (folder / name).write_bytes(content)
                outcome, good, detail = loaded(folder / name, find, intact)
                yield Row(f"{how} of {name}", case, outcome, good, detail)
        (folder / name).write_bytes(intact[name][0])


def loaded(path: Path, find: bool, intact: dict[str, tuple[bytes, Any]]) -> tuple[str, bool, str]:
    """Load a damaged checkpoint: the outcome, whether it is promised, and the message."""
    from sparseift import UserError
    from sparseift.training.checkpoints import find_checkpoint, read_checkpoint

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = find_checkpoint(path) if find else path
            same = alike(read_checkpoint(found), intact[found.name][1])
        except UserError as error:
            return "refused", not find, str(error)
        except Exception as error:
            return f"traceback: {type(error).__name__}", False, str(error)
    detail = str(told[0].message) if told else ""
    if found != path:
        return f"used {found.name}", bool(same and detail), detail
    return (HARMLESS, True, detail) if same else (SILENT, False, detail)


def alike(one: Any, other: Any) -> bool:
    """Whether two checkpoints are the same to the bit."""
    import torch

    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        return torch.equal(*(tensor.contiguous().flatten().view(torch.uint8) for tensor in (one, other)))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and one == other


def command(case: tuple[Path, str, str, str, str]) -> Row:
    """Damage a file in a copy of a run folder, and resume the run with the real command."""
    source, state, name, how, seed = case
    chance = random.Random(f"{seed} {state} {name} {how}")
    folder = source / f"{state} {name} {how} {seed}".replace("/", "_").replace(" ", "_")
    shutil.copytree(source / state, folder / "run")
    content = bytearray((folder / "run" / name).read_bytes())
    place = DAMAGES[how](content, chance)
    (folder / "run" / name).write_bytes(content)
    end = program(arguments("run"), folder)
    report = partial(Row, f"command, {state} run: {how} of {name}", f"{seed}, {place}")
    if end.traceback or end.code not in (0, 2):
        return report(f"exit code {end.code} with a traceback", False, end.last_line)
    if end.code == 2:
        return report("refused", end.last_line.startswith("sparseift: "), end.last_line)
    differs = difference(folder / "run", source / "finished")
    if differs:
        return report("SILENT: another end", False, f"{differs}; {end.last_line}")
    return report(FINISHED if "already finished" in end.out else SAME, True, end.last_line)
