"""python -m sparseift.export RUN: write the network of a run to a file."""

from __future__ import annotations

from pathlib import Path

from .common.messages import Arguments, one_line_errors

DESCRIPTION = "Write the network of a run: its weights for use without this package, or a compact file for prediction"

FORMATS = {
    "state_dict": "the state dict, .pt or .safetensors",
    "transformers": "a folder that from_pretrained of Hugging Face's transformers loads",
    "sparse": "a compact .safetensors file without masked weights, for sparseift.load, predict and evaluate",
}


def main() -> None:
    parser = Arguments(prog="sparseift export", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder or checkpoint")
    parser.add_argument("--best", action="store_true", help="read best.ckpt instead of last.ckpt")
    described = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, default="state_dict", help=f"{described} (default: state_dict)")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="(default: weights.pt, transformers/ or sparse.safetensors in RUN)"
    )
    with one_line_errors():
        arguments = parser.parse_args()
        if arguments.format == "transformers":  # imports torch, which takes seconds
            from .app.pretrained import export_pretrained as export
        elif arguments.format == "sparse":
            from .app.compact import export_compact as export
        else:
            from .training.export import export_weights as export
        print(export(arguments.run, arguments.best, arguments.out))


if __name__ == "__main__":
    main()
