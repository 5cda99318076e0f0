"""The rows of the table, and its CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sparseift.common.console import si
from sparseift.common.files import replacing

from .networks import all_networks

MEMBERS = ("sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped")
TOLERANCE = 1e-3
NOT_DONE = "not done"  # prefix of the reason for a check that was skipped


@dataclass
class Row:
    """The result for one network and one member.

    Args:
        network: library and name, such as 'timm/resnet18'.
        member: name of the member.
        sparsity: nominal sparsity.
        image: side of the images in pixels.
        budget: FLOPs per sample of the dense network.
        dense: parameters of the dense network.
        torch_dense: the same by torch's FlopCounterMode.
        ratio: FLOPs of the transformed network divided by the budget.
        torch_ratio: the same by torch's FlopCounterMode, less the FLOPs of masked weights.
        layers_ratio: the same for a plan that leaves the products outside of layers out (sparsity.budget=layers).
        stored: stored parameters of the transformed network.
        active: its parameters that are not masked.
        refusal: reason why the network is rejected; empty if it is not.
        check: 'passed', what failed, or why the check was skipped; empty without --check.
    """

    network: str
    member: str
    sparsity: float
    image: int = 0
    budget: int = 0
    dense: int = 0
    torch_dense: int = 0
    ratio: float = 0.0
    torch_ratio: float = 0.0
    layers_ratio: float = 0.0
    stored: int = 0
    active: int = 0
    refusal: str = ""
    check: str = ""

    @property
    def key(self) -> tuple[str, str, float]:
        return self.network, self.member, self.sparsity

    @property
    def agrees(self) -> bool:
        """Whether torch counts the FLOPs that the plan has."""
        return self.torch_dense == self.budget and abs(self.torch_ratio - self.ratio) < 1e-9

    @property
    def met(self) -> bool:
        return abs(self.ratio - 1) <= TOLERANCE

    def __str__(self) -> str:
        if self.refusal:
            return self.refusal
        size = f"{self.ratio:.4f} of {si(self.budget)}FLOPs, {si(self.stored)} stored, {si(self.active)} active"
        return size + (f"; check: {self.check}" if self.check else "")


def read(path: Path) -> dict[tuple[str, str, float], Row]:
    if not path.exists():
        return {}
    kinds = {field.name: {"int": int, "float": float, "str": str}[field.type] for field in fields(Row)}
    with path.open(newline="") as file:
        rows = [Row(**{key: kinds[key](value) for key, value in row.items()}) for row in csv.DictReader(file)]
    return {row.key: row for row in rows}


def write(rows: Sequence[Any], path: Path) -> None:
    """Write at least one row of a table, all of one dataclass, as CSV."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def lacks_check(row: Row) -> bool:
    return not row.refusal and (not row.check or row.check.startswith(NOT_DONE))


def in_order(rows: Iterable[Row]) -> list[Row]:
    order = {name: place for place, name in enumerate(all_networks())}
    return sorted(rows, key=lambda row: (row.sparsity, order.get(row.network, len(order)), MEMBERS.index(row.member)))
