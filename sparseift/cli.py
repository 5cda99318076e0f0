"""The command line that the programs share: Hydra's, with plain sparsities, a help page of ours and one-line
errors."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from . import launchers, slurm
from .errors import LEAVE, Stopped, UserError
from .sweep import resumed

EXPECTED = (UserError, HydraException, OmegaConfBaseException, OSError)
"""What a person can put right: the input, or the machine's files."""

OmegaConf.register_new_resolver("started", slurm.started, use_cache=True, replace=True)
OmegaConf.register_new_resolver("fraction", lambda share, total: round(share * total), replace=True)


def config_folder() -> Path:
    """conf/ inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def plain_choice(argument: str) -> str:
    """The argument as Hydra can take it, where it is the choice of a group: Hydra takes neither a number nor null.

    `sparsity=0.75`, a list or a range of numbers, becomes `sparsity.level=...`. Raises UserError for other groups.
    """
    group, equals, value = argument.lstrip("+").partition("=")
    folder = config_folder() / group
    if not (equals and group.isidentifier() and folder.is_dir()):
        return argument
    override: Override = OverridesParser.create().parse_override(f"{group}={value}")
    value_type = override.value()
    swept = isinstance(value_type, RangeSweep | IntervalSweep)
    values = value_type.list if isinstance(value_type, ChoiceSweep) else [value_type]
    numbers = [swept or (isinstance(item, int | float) and not isinstance(item, bool)) for item in values]
    if group == "sparsity" and all(numbers):
        return f"sparsity.level={value}"
    if group == "sparsity" and any(numbers):
        raise UserError(
            f"sparsity={value} mixes numbers and distributions; sweep both: sparsity=uniform,erk sparsity.level=0.5,0.9"
        )
    several = group in ("logger", "callbacks")
    named = [item for item in values if isinstance(item, str | QuotedString) or (several and isinstance(item, list))]
    if len(named) < len(values):
        choices = ", ".join(choices_of(folder))
        number = "a number, " if group == "sparsity" else ""
        raise UserError(f"{argument} names no choice; choose from {number}{choices}")
    return argument


def run(task: Callable[[DictConfig], None], config_name: str, description: str) -> None:
    """Compose the config from the command line and call `task` with it, once or once a job of a sweep.

    What a user can put right is told in one line, with exit code 2. A job of a sweep that fails does not stop the
    others, unless `sweep.stop_on_failure`; the exit code is then 1.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions come through to here
    failed: list[str] = []
    began = time.time()

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode is RunMode.RUN:
            with one_line_errors():
                task(config)
            return
        try:
            task(config)
        except Exception as error:
            if not isinstance(error, EXPECTED):
                traceback.print_exc()
            failed.append(f"job {HydraConfig.get().job.num} ({_overrides()}): {one_line(error)}")
            print(f"sparseift: {failed[-1]}", file=sys.stderr)
            if config.sweep.stop_on_failure or slurm.in_task():  # so that SLURM knows, and ends the other ranks
                sys.exit(1)
            raise  # to Hydra, which runs the other jobs and then raises it again here

    arguments = sys.argv[1:]
    sweep = bool({"-m", "--multirun"} & set(arguments))
    with one_line_errors():
        if {"-h", "--help"} & set(arguments):
            print(help_page(description))
            return
        if sweep and {"-c", "--cfg"} & set(arguments):
            raise UserError("--cfg shows the config of one run: leave out -m")
        overrides = [plain_choice(argument) for argument in arguments if _is_override(argument)]
        options = [argument for argument in arguments if not _is_override(argument)]
        _check(options)
        _check_ranges(overrides)
        launchers.check(overrides, sweep)
        for number in (*LEAVE, *([signal.SIGINT] if launchers.named(overrides) else [])):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _leave)
        sys.argv[1:] = options + resumed(overrides, sweep)  # Hydra takes overrides in one piece
        try:
            hydra.main(config_path=str(config_folder()), config_name=config_name, version_base="1.3")(job)()
        except Exception as error:
            if refusal := launchers.refusal(error):
                raise refusal from error
            failed += [] if failed else launchers.failures(began)
            if not failed:
                raise
        except KeyboardInterrupt:
            if queued := launchers.queued(began):
                ids = " ".join(sorted({job.partition("_")[0] for job in queued}))
                print(f"sparseift: its jobs stay in the queue, until: scancel {ids}", file=sys.stderr)
            raise
    if failed:
        print(f"sparseift: {len(failed)} of the jobs failed:", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


def _check_ranges(overrides: Iterable[str]) -> None:
    """Raises UserError for a range that counts no value: Hydra would launch no job, and that would be a success."""
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        if isinstance(value, RangeSweep) and not list(value.range()):
            raise UserError(f"{override.input_line} has no values: a range counts up, or down if its step is negative")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Before a run trains and after it has, there is nothing to save. But jobs beside each other may have."""
    signal.signal(number, signal.SIG_IGN)
    launchers.end_parallel_jobs(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if slurm.first_process():
        if slurm.in_task():
            slurm.requeue()
        print(f"sparseift: stopped by {signal.Signals(number).name}", file=sys.stderr)
    raise Stopped(128 + number)


def _check(options: list[str]) -> None:
    """Hydra itself answers a mistake in its options with their whole usage."""
    parser = get_args_parser()
    parser.error = _refuse
    _, unknown = parser.parse_known_args(options)
    if unknown:
        _refuse(f"there is no option {unknown[0]}; values are set without dashes, as in sparsity=0.9")


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; see --help")


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _overrides() -> str:
    return " ".join(HydraConfig.get().overrides.task)


class Arguments(argparse.ArgumentParser):
    """The command line of a program without a config, whose mistakes are told in one line like all others."""

    def error(self, message: str) -> NoReturn:
        _refuse(message)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends the program with one line and exit code 2 where the user can put things right."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without some sign is no reason to fail
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EXPECTED as error:
        print(f"sparseift: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the same one may come twice: from the terminal and a parent
        print("sparseift: interrupted", file=sys.stderr)
        sys.exit(130)


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split("Config search path:")[0].split())
    text = text.removeprefix("UserError raised while resolving interpolation: ")  # ours, by way of OmegaConf
    unknown = re.match(r"Could not override '(\S+)'\.", text)
    if not unknown:
        return text
    inside = re.search(r"full_key: (\S+)", str(error.__cause__))
    key = inside[1] if inside else unknown[1]
    if key != unknown[1]:
        node = unknown[1]
        return f"there is no option '{key}'; to put something else in the place of {node}: '~{node}' '+{node}={{...}}'"
    known = set(known_keys()) - {key}  # an option of the default choices may be none of these
    near = get_close_matches(key, known, n=3, cutoff=0.6)
    return f"there is no option '{key}'" + (f"; did you mean {' or '.join(near)}?" if near else "; see --cfg job")


def known_keys() -> Iterator[str]:
    """Every key of the default config, dotted."""
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        pending = [("", OmegaConf.to_container(hydra.compose("train"), resolve=False))]
    while pending:
        prefix, node = pending.pop()
        for key, value in node.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                pending.append((f"{prefix}{key}.", value))


def groups() -> list[Path]:
    """The folders of what can be chosen."""
    folder = config_folder()
    own = sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in ("shared", "hydra"))
    return [*own, folder / "hydra" / "launcher"]


def choices_of(group: Path) -> dict[str, Path]:
    """The files of a config group by the names that choose them, such as `cifar100/resnet18` for a sub-folder."""
    return {file.relative_to(group).with_suffix("").as_posix(): file for file in sorted(group.rglob("*.yaml"))}


def help_page(description: str) -> str:
    """Every config group and its choices, each with the first comment of its file and the choices that it sets."""
    lines = [description, "", "Choices, GROUP=CHOICE (defaults are in conf/train.yaml):", ""]
    for group in groups():
        lines.append(f"  {group.relative_to(config_folder())}")
        choices = choices_of(group)
        width = max(map(len, choices)) + 2
        for name, file in choices.items():
            lines.append(f"    {name:<{width}}{summary(file)}")
            if others := ", ".join(f"{key}: {choice}" for key, choice in sorted(sets(file).items())):
                lines.append(f"    {'':<{width}}sets {others}")
    lines += [
        "",
        "Any value of the composed config can be overridden: sparsity=0.9 recipe.epochs=50 dataset.batch_size=256",
        "  --cfg job         print the whole composed config",
        "  -m, --multirun    run every combination of comma-separated values: -m sparsity=0.5,0.75,0.9 seed=0,1,2",
        "  --hydra-help      Hydra's own options",
    ]
    return "\n".join(lines)


def sets(file: Path) -> dict[str, str]:
    """The choices of other groups that the defaults list of a file overrides, also in the files that it names there."""
    own: dict[str, str] = {}
    named = []
    for entry in OmegaConf.to_container(OmegaConf.load(file)).get("defaults", []):
        if isinstance(entry, str):
            named.append(entry)
            continue
        [(key, choice)] = entry.items()
        if key.startswith("override /"):
            group = key.removeprefix("override /")
            own[group] = str(choice).replace("'", "")
            named.append(f"/{group}/{choice}")
    for name in named:
        folder = config_folder() if name.startswith("/") else file.parent
        other = folder / f"{name.partition('@')[0].lstrip('/')}.yaml"
        own = sets(other) | own if other.is_file() else own
    return own


def summary(file: Path) -> str:
    comments = (line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
    return next((comment for comment in comments if not comment.startswith("@package")), "")
