"""Checks of values that a user sets. Each returns the value, or raises `UserError`: `NAME is VALUE; expected WHAT`."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

from ..errors import UserError


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise `UserError` unless the condition holds.

    Args:
        name: The option, as a dotted key of the config if there is one.
        expected: The valid values, such as "an integer >= 1".
    """
    if not condition:
        raise UserError(f"{name} is {value!r}; expected {expected}")


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Check that the value is an integer from `least` to `most`."""
    expected = f"an integer >= {least}" if most is None else f"an integer from {least} to {most}"
    fits = isinstance(value, int) and not isinstance(value, bool)
    require(fits and least <= value and (most is None or value <= most), name, value, expected)
    return value


def number(name: str, value: Any, least: float, most: float | None = None, open_at: str = "") -> float:
    """Check that the value is a number from `least` to `most`.

    Args:
        open_at: The ends that are excluded: "", "(" for `least`, ")" for `most`, or "()" for both.
    """
    low, high = "(" in open_at, ")" in open_at
    if most is None:
        expected = f"a number {'>' if low else '>='} {least:g}"
    else:
        expected = f"a number in {'(' if low else '['}{least:g}, {most:g}{')' if high else ']'}"
    fits = isinstance(value, Real) and not isinstance(value, bool)
    fits = fits and (value > least if low else value >= least)
    require(fits and (most is None or (value < most if high else value <= most)), name, value, expected)
    return value


def boolean(name: str, value: Any) -> bool:
    """Check that the value is true or false."""
    require(isinstance(value, bool), name, value, "true or false")
    return value


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Check that the value is one of the choices."""
    choices = list(choices)
    require(isinstance(value, str) and value in choices, name, value, f"one of {', '.join(choices)}")
    return value
