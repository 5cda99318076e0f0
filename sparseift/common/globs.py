"""Selection of names by globs."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .checks import require

EXPECTED = "a list of names or globs, such as [layer1.*]"


def matching(option: str, globs: str | Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the names that at least one glob matches, in their order.

    Args:
        option: The option that has the globs, as a dotted key of the config.

    Raises:
        UserError: The globs are not strings, or one of them matches no name.
    """
    require(isinstance(globs, Iterable) and not isinstance(globs, dict), option, globs, EXPECTED)
    chosen, names = [globs] if isinstance(globs, str) else list(globs), list(names)
    require(all(isinstance(glob, str) for glob in chosen), option, chosen, EXPECTED)
    for glob in chosen:
        near = get_close_matches(glob, names, n=3, cutoff=0.4) or names[:3]
        found = any(fnmatchcase(name, glob) for name in names)
        require(found, option, glob, f"a name or glob that matches, such as {' or '.join(near)}")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in chosen)]
