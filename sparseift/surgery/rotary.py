"""Tables of rotary and sinusoidal embeddings of another width (Su et al. 2021, section 3.2; Vaswani et al. 2017, 3.5).

Their n frequencies are base^(-i / n). A table is recognized by its values, and computed anew for another number of
frequencies with the same base, as by code that is given the new width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CLOSE = 1e-3  # relative error of frequencies
FEWEST = 3  # frequencies: two are always a geometric sequence


@dataclass(frozen=True)
class Layout:
    """How a table has its frequencies.

    Attributes:
        found: Returns the frequencies, given the row of position 1.
        built: Returns the table, given the angles (positions, frequencies).
        width: Columns of the table per frequency.
    """

    found: Callable[[Tensor], Tensor]
    built: Callable[[Tensor], Tensor]
    width: int = 2


def _exponentials(angles: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angles), angles)


def _layouts(of: Callable[[Tensor], Tensor], inverse: Callable[[Tensor], Tensor]) -> list[Layout]:
    """A column per frequency, or two: the second half repeats the first, or every column is repeated."""
    return [
        Layout(inverse, of, width=1),
        Layout(lambda row: inverse(row[: len(row) // 2]), lambda a: of(torch.cat((a, a), -1))),
        Layout(lambda row: inverse(row[::2]), lambda a: of(a.repeat_interleave(2, -1))),
    ]


ROTARY = [
    *_layouts(torch.cos, torch.arccos),
    *_layouts(torch.sin, torch.arcsin),
    *_layouts(_exponentials, torch.angle),
]
SINUSOIDAL = [
    Layout(lambda row: row[::2].arcsin(), lambda a: torch.stack((a.sin(), a.cos()), -1).flatten(-2)),
    Layout(lambda row: row[: len(row) // 2].arcsin(), lambda a: torch.cat((a.sin(), a.cos()), -1)),
]


def resampled(table: Tensor, shape: torch.Size) -> Tensor | None:
    """Return a table whose last dimension has another size; None if its values are none of frequencies.

    Args:
        table: Frequencies (n,), or their cosines, sines or complex exponentials by position, (positions, width) and
            dimensions of size 1.
    """
    rows, width = [size for size in table.shape if size > 1][:-1], shape[-1]
    if table.is_meta or len(rows) > 1 or table.shape[:-1] != shape[:-1]:
        return None
    if not rows:
        layouts = [Layout(lambda row: row, lambda a: a[-1], width=1)]
    else:
        layouts = [*ROTARY, *SINUSOIDAL] if rows[0] > 1 else []
    flat = table.reshape(-1, table.shape[-1])
    row = flat[-1 if not rows else 1].to(torch.complex128 if table.is_complex() else torch.double)
    positions = torch.arange(max(len(flat), 2), dtype=torch.double, device=table.device)
    for layout in layouts:
        base = _base(layout.found(row)) if len(row) % layout.width == width % layout.width == 0 else None
        if base is None:
            continue
        old, new = (_table(layout, base, size // layout.width, positions) for size in (len(row), width))
        if old.is_complex() == table.is_complex() and torch.allclose(
            old.to(row.dtype), flat.squeeze(0).to(row.dtype) if rows else row, rtol=CLOSE, atol=len(flat) * 1e-6
        ):
            return new.to(table.dtype).reshape(shape)
    return None


def _table(layout: Layout, base: float, count: int, positions: Tensor) -> Tensor:
    frequencies = base ** (-torch.arange(count, dtype=torch.double, device=positions.device) / count)
    return layout.built(torch.outer(positions, frequencies))


def _base(found: Tensor) -> float | None:
    """The base of frequencies 1, base^(-1/n), base^(-2/n), ...; None if the first ones are others."""
    if found.is_complex() or len(found) < FEWEST or not 0 < float(found[1]) < 1 or abs(float(found[0]) - 1) > CLOSE:
        return None
    if abs(float(found[2] / found[1] ** 2) - 1) > CLOSE:
        return None
    base = float(found[1]) ** -len(found)
    plain = float(f"{base:.3g}")  # such as 10000, which rounding has changed a little
    return plain if abs(plain / base - 1) < CLOSE else base
