"""python -m sparseift.train: one run, or with -m a sweep of runs."""

from __future__ import annotations

from .app.program import run
from .app.train import train

DESCRIPTION = "python -m sparseift.train [OVERRIDES]: train a network at the FLOPs of its dense original"


def main() -> None:
    run(train, "train", DESCRIPTION)


if __name__ == "__main__":
    main()
