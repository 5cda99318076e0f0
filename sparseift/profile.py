"""python -m sparseift.profile: what a run would cost. Trains nothing, reads no data, writes no file."""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory

from .app.profile import profile
from .app.program import run

DESCRIPTION = (
    "python -m sparseift.profile [OVERRIDES]: FLOPs and parameters of a run, layer by layer; format=json for JSON"
)


def main() -> None:
    with TemporaryDirectory() as folder:  # Hydra writes a description of a sweep
        if {"-m", "--multirun"} & set(sys.argv):
            sys.argv.append(f"hydra.sweep.dir={folder}")
        run(profile, "profile", DESCRIPTION)


if __name__ == "__main__":
    main()
