"""python -m sparseift.predict RUN INPUT...: apply the network of a run to files or to a text."""

from __future__ import annotations

from pathlib import Path

from .common.checks import number, require
from .common.extras import require_suite
from .common.messages import Arguments, one_line_errors
from .runs.weights import WEIGHTS, WHICH

DESCRIPTION = """Apply the network of a run: to image files, for the most likely labels with their probabilities, or
to the beginning of a text, which a language model continues. Size, normalisation and tokens are those of the run."""

FORMATS = ("table", "csv", "json")


def main() -> None:
    parser = Arguments(prog="sparseift predict", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image file, or the beginning of a text")
    parser.add_argument("--weights", choices=WEIGHTS, help=WHICH)
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="(default: table)")
    parser.add_argument("--device", default="cpu", help="device of torch, such as cuda (default: cpu)")
    parser.add_argument("--top", type=int, help="labels of an image file (default: 5)")
    parser.add_argument("--tokens", type=int, help="tokens of a continued text (default: 100)")
    parser.add_argument("--temperature", type=float, help="0 takes the most likely token (default: 0.8)")
    parser.add_argument("--seed", type=int, help="seed of a continued text (default: 0)")
    with one_line_errors():
        arguments = parser.parse_intermixed_args()
        names = ("top", "tokens", "temperature", "seed")
        options = {name: value for name in names if (value := getattr(arguments, name)) is not None}
        for name, value in options.items():
            number(f"--{name}", value, 1 if name in ("top", "tokens") else 0)
        require(arguments.run.is_dir(), "RUN", str(arguments.run), "a run folder")
        require_suite("sparseift predict")
        from .app.predict import predict  # imports torch

        predict(arguments.run, arguments.inputs, arguments.weights, arguments.device, options, arguments.format)


if __name__ == "__main__":
    main()
