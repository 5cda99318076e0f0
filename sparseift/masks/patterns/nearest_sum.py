"""Choose one value for each layer so that the sum is as near to a target as possible."""

from __future__ import annotations

from collections.abc import Sequence

PARTS = 1_000_000
"""Resolution of the sums, as a fraction of the target."""


def nearest_sum(options: Sequence[Sequence[int]], target: int) -> list[int]:
    """Return the index of one option for each layer. Of two equally near sums, the smaller is taken.

    Args:
        options: Values that each layer can have. They are rounded to a millionth of the target.
        target: Desired sum.
    """
    unit = max(1, target // PARTS)
    rounded = [[round(option / unit) for option in each] for each in options]
    reachable = [1]  # bit n of item i is set if n units are a sum of the first i options
    for each in rounded:
        reachable.append(0)
        for option in each:
            reachable[-1] |= reachable[-2] << option
    wanted = round(target / unit)
    below = (reachable[-1] & ((2 << wanted) - 1)).bit_length() - 1
    above = reachable[-1] >> wanted
    rest = wanted + (above & -above).bit_length() - 1 if above else below
    if below >= 0 and wanted - below <= rest - wanted:
        rest = below
    chosen = []
    for each, before in zip(reversed(rounded), reversed(reachable[:-1]), strict=True):
        chosen.append(next(i for i, option in enumerate(each) if rest >= option and before >> (rest - option) & 1))
        rest -= each[chosen[-1]]
    return chosen[::-1]
