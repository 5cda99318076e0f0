"""python -m sparseift.train: a run, or a sweep of runs with -m."""

from __future__ import annotations

from .common.extras import require_suite
from .common.messages import one_line_errors

DESCRIPTION = "sparseift train [OVERRIDES]: train a sparse network that costs the FLOPs of a dense one"


def main() -> None:
    with one_line_errors():
        require_suite("sparseift train")
    from .app.program import run
    from .app.train import train

    run(train, "train", DESCRIPTION)


if __name__ == "__main__":
    main()
