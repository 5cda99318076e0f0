"""The result of a case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One case and its outcome.

    Args:
        kind: The cases that are counted together, such as "one bit of last.ckpt".
        case: What was done, so that it can be repeated.
        outcome: What became of it in a few words, which are counted, such as "used previous.ckpt".
        good: Whether the outcome is a promised one.
        detail: The message of the program, or how the result differs.
    """

    kind: str
    case: str
    outcome: str
    good: bool
    detail: str = ""


def table(rows: Iterable[Row]) -> list[tuple[str, int, str]]:
    """Return kind, number of cases and counted outcomes, in the order in which the kinds and outcomes appear."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        outcomes = counts.setdefault(row.kind, {})
        outcomes[row.outcome] = outcomes.get(row.outcome, 0) + 1
    return [
        (kind, sum(outcomes.values()), ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))
        for kind, outcomes in counts.items()
    ]
