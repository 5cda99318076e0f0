"""Overrides on the command line, translated to what Hydra accepts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep

from ..common.checks import require
from ..errors import UserError


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


def plain_choice(argument: str) -> str:
    """Translate `sparsity=0.75`, also with several numbers or a range, to `sparsity.level=...`.

    Other arguments are returned unchanged.

    Raises:
        UserError: The value of a group is not a name; Hydra would raise an assertion error.
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
        raise UserError(f"{group} is {value}; expected {expected_choice(group, choices_of(folder))}")
    return argument


def check_ranges(overrides: Iterable[str]) -> None:
    """Check that every range has values. Hydra launches no job for an empty one, and succeeds.

    Raises:
        UserError: A range is empty.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        value = override.value()
        if isinstance(value, RangeSweep) and not list(value.range()):
            raise UserError(f"{override.input_line} has no values; a range counts up, or down if its step is negative")


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
