"""Overrides on the command line, translated to what Hydra accepts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep

from ..common.checks import require
from ..errors import UserError

PATH = re.compile(r"\w+(/\w+)*")
"""Names of groups, also of a sub-folder of a group."""

MOST_VALUES = 10_000
"""The largest number of values in a range that can be meant."""


def config_folder() -> Path:
    """Return conf/ inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def choices_of(group: Path) -> dict[str, Path]:
    """The files of a config group by the names that choose them, such as `cifar100/resnet18` for a sub-folder."""
    return {file.relative_to(group).with_suffix("").as_posix(): file for file in sorted(group.rglob("*.yaml"))}


def expected_choice(group: str, choices: Iterable[str]) -> str:
    """Return what a message says about the valid values of a group."""
    return f"{'a number, or ' if group == 'sparsity' else ''}one of {', '.join(choices)}"


def plain_choice(argument: str, folders: Sequence[Path] = ()) -> str:
    """Translate `sparsity=0.75`, also with several numbers or a range, to `sparsity.level=...`.

    A glob is translated to the choices that it matches, also those in sub-folders, which Hydra does not see. Other
    arguments are returned unchanged.

    Args:
        folders: Folders of configs besides the package's own.

    Raises:
        UserError: The value of a group is not a name; Hydra would raise an assertion error.
    """
    key, equals, value = argument.partition("=")
    group = key.lstrip("+").partition("@")[0]
    folder = config_folder() / group
    if not (equals and PATH.fullmatch(group) and any((root / group).is_dir() for root in (config_folder(), *folders))):
        return argument
    override: Override = OverridesParser.create().parse_override(f"{group}={value}")
    value_type = override.value()
    if isinstance(value_type, Glob):
        return f"{key}={_matching(value_type, group, value, folders)}"
    if not (folder.is_dir() and key.lstrip("+").isidentifier()):
        return argument
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
        raise UserError(f"{group} is {value}; expected {expected_choice(group, choices_of(folder))}")
    return argument


def _matching(glob: Glob, group: str, value: str, folders: Sequence[Path]) -> str:
    """The choices of a group that a glob matches, separated by commas."""
    choices = {name for root in (config_folder(), *folders) for name in choices_of(root / group)}
    chosen = glob.filter(sorted(choices))
    require(bool(chosen), group, value, f"a glob that matches one of {', '.join(sorted(choices))}")
    return ",".join(chosen)


def check_sweeps(overrides: Iterable[str]) -> None:
    """Check that every sweep has values. Hydra launches no job for one without, and succeeds.

    Raises:
        UserError: A sweep has no values, or so many that they cannot be meant.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        if isinstance(value, Glob):
            raise UserError(f"{override.input_line} has no values; a glob selects choices of a group")
        if not isinstance(value, RangeSweep):
            continue
        try:
            count = sum(1 for _ in islice(value.range(), MOST_VALUES + 1))
        except (ValueError, ArithmeticError) as error:  # a step of zero or NaN
            raise UserError(f"{override.input_line} is no range: {error}") from error
        if not count:
            raise UserError(f"{override.input_line} has no values; a range counts up, or down if its step is negative")
        if count > MOST_VALUES:
            raise UserError(f"{override.input_line} has more than {MOST_VALUES} values; expected fewer")


def check_folders(overrides: Iterable[str]) -> None:
    """Check that the folders of runs have names. `hydra.run.dir=$UNSET` would mean the working directory.

    Raises:
        UserError: A name is empty.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.key_or_group in ("hydra.run.dir", "hydra.sweep.dir"):
            empty = not str(override.value() or "").strip()
            require(not empty, override.key_or_group, override.value(), "a folder")


def is_override(argument: str) -> bool:
    """Whether an argument is an override, not an option such as -m."""
    return not argument.startswith("-") and ("=" in argument[1:] or argument.startswith("~"))
