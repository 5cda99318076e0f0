"""Choose names by globs."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from .checks import require

EXPECTED = "names or globs of names, such as [layer1.*]"


def matching(globs: str | Iterable[str], names: Iterable[str], option: str) -> list[str]:
    """Return the names that a glob matches, in their order.

    Args:
        globs: One glob or several.
        names: The names to choose from.
        option: What the user sets, as a dotted key of the config.

    Raises:
        UserError: The globs are not strings, or one of them matches no name.
    """
    require(isinstance(globs, Iterable), option, globs, EXPECTED)
    chosen, names = [globs] if isinstance(globs, str) else list(globs), list(names)
    require(all(isinstance(glob, str) for glob in chosen), option, chosen, EXPECTED)
    for glob in chosen:
        near = get_close_matches(glob, names, n=3, cutoff=0.4) or names[:3]
        found = any(fnmatchcase(name, glob) for name in names)
        require(found, option, glob, f"a name or glob that matches, such as {' or '.join(near)}")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in chosen)]
