"""python -m sparseift.export RUN: write the network of a run for use without this package."""

from __future__ import annotations

from pathlib import Path

from .common.messages import Arguments, one_line_errors

DESCRIPTION = "Write the weights of a run, in which masked weights are zero, for use without this package"

FORMATS = {
    "state_dict": "the state dict, .pt or .safetensors",
    "transformers": "a folder that from_pretrained of Hugging Face's transformers loads",
}


def main() -> None:
    parser = Arguments(prog="sparseift export", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder or checkpoint")
    parser.add_argument("--best", action="store_true", help="read best.ckpt instead of last.ckpt")
    described = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, default="state_dict", help=f"{described} (default: state_dict)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="(default: weights.pt or transformers/ in RUN)")
    with one_line_errors():
        arguments = parser.parse_args()
        if arguments.format == "transformers":  # imports torch, which takes seconds
            from .app.pretrained import export_pretrained as export
        else:
            from .training.export import export_weights as export
        print(export(arguments.run, arguments.best, arguments.out))


if __name__ == "__main__":
    main()
