"""python -m sparseift.train: a run, or a sweep of runs with -m."""

from __future__ import annotations

from .app.program import run
from .app.train import train

DESCRIPTION = "sparseift train [OVERRIDES]: train a sparse network that costs the FLOPs of a dense one"


def main() -> None:
    run(train, "train", DESCRIPTION)


if __name__ == "__main__":
    main()
