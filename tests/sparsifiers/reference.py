"""Drop and grow once more, on plain lists: slow, obvious, and sharing no code with the package."""

from collections.abc import Sequence


def kept(weight: Sequence[float], mask: Sequence[bool], count: int) -> list[bool]:
    """`mask` without its `count` smallest magnitudes; of equal ones, the last go first."""
    active = [i for i, on in enumerate(mask) if on]
    active.sort(key=lambda i: (-abs(weight[i]), i))
    stay = set(active[: max(0, len(active) - count)])
    return [i in stay for i in range(len(mask))]


def grown(score: Sequence[float], kept: Sequence[bool], count: int) -> list[bool]:
    """`kept` and the `count` largest scores outside it; of equal ones, the first come first."""
    others = [i for i, on in enumerate(kept) if not on]
    others.sort(key=lambda i: (-score[i], i))
    new = set(others[: max(0, count)])
    return [on or i in new for i, on in enumerate(kept)]


def updated(weight: Sequence[float], score: Sequence[float], mask: Sequence[bool], fraction: float) -> list[bool]:
    """The mask after one whole update of a layer."""
    count = int(fraction * sum(mask))
    return grown(score, kept(weight, mask, count), count)
