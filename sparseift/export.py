"""python -m sparseift.export RUN: write the weights of a run as a plain state dict, for use without this package."""

from __future__ import annotations

from pathlib import Path

from .common.messages import Arguments, one_line_errors

DESCRIPTION = "Write the weights of a run as a plain state dict, in which masked weights are zero"


def main() -> None:
    parser = Arguments(prog="python -m sparseift.export", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder or checkpoint")
    parser.add_argument("--best", action="store_true", help="read best.ckpt instead of last.ckpt")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".pt or .safetensors (default: weights.pt in RUN)")
    with one_line_errors():
        arguments = parser.parse_args()
        from .training.export import export_weights  # imports torch, which takes seconds

        print(export_weights(arguments.run, arguments.best, arguments.out))


if __name__ == "__main__":
    main()
