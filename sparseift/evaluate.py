"""python -m sparseift.evaluate RUN: test a finished run, on its own data or on other data."""

from __future__ import annotations

from pathlib import Path

from .common.extras import require_suite
from .common.messages import Arguments, one_line_errors
from .runs.weights import WEIGHTS, WHICH

DESCRIPTION = """Test the network of a run, print its metrics, and write them to a file. Without OVERRIDE, on the test
set of the run. OVERRIDE changes the data or the device: dataset=image_folder dataset.root=photos trainer=cpu"""


def main() -> None:
    parser = Arguments(prog="sparseift evaluate", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="option of dataset or trainer: NAME=VALUE")
    parser.add_argument("--weights", choices=WEIGHTS, help=WHICH)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON file (default: evaluation_DATASET_WEIGHTS.json in RUN)"
    )
    with one_line_errors():
        arguments = parser.parse_intermixed_args()
        require_suite("sparseift evaluate")
        from .app.evaluate import evaluate  # imports Hydra

        evaluate(arguments.run, arguments.weights, arguments.overrides, arguments.out)


if __name__ == "__main__":
    main()
