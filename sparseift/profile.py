"""python -m sparseift.profile: the cost of a run, without training, data or files."""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

from .common.extras import require_suite
from .common.messages import one_line_errors

DESCRIPTION = "sparseift profile [OVERRIDES]: print FLOPs and parameters of a run by layer (format=table|json)"


def main() -> None:
    with one_line_errors():
        require_suite("sparseift profile")
    from .app.profile import profile
    from .app.program import run

    with TemporaryDirectory() as folder:  # in which Hydra describes a sweep
        if {"-m", "--multirun"} & set(sys.argv):
            sys.argv.append(f"hydra.sweep.dir={folder}")
        run(profile, "profile", DESCRIPTION)


if __name__ == "__main__":
    main()
