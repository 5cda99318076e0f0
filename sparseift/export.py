"""python -m sparseift.export RUN: write the network of a run for use without this package."""

from __future__ import annotations

from pathlib import Path

from .common.checks import require
from .common.extras import require_suite
from .common.messages import Arguments, one_line_errors

DESCRIPTION = """Write the network of a run, in which masked weights are zero, for use without this package: its state
dict (pt, safetensors), a program (pt2, onnx), or a folder (hub, transformers)."""

FILES = {"pt": "weights", "safetensors": "weights", "pt2": "model", "onnx": "model"}
"""Formats of files, which are their suffixes, and the name of the file in the run folder."""

FORMATS = {
    "pt": "a state dict for torch.load",
    "safetensors": "a state dict for safetensors",
    "pt2": "a program for torch.export.load",
    "onnx": "a program for ONNX Runtime and others; needs pip install onnxscript",
    "hub": "a folder that huggingface_hub uploads and sparseift.load reads",
    "transformers": "a folder that from_pretrained of Hugging Face's transformers loads",
}


def main() -> None:
    parser = Arguments(prog="sparseift export", description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder; for a state dict also a checkpoint")
    parser.add_argument("--best", action="store_true", help="read best.ckpt instead of last.ckpt")
    described = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", choices=FORMATS, help=f"{described} (default: the suffix of PATH, or pt)")
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="(default: weights.pt, weights.safetensors, model.pt2, ... in RUN)"
    )
    with one_line_errors():
        arguments = parser.parse_args()
        require_suite("sparseift export")
        run, best, out, form = arguments.run, arguments.best, arguments.out, arguments.format
        if form in (None, *FILES):
            print(_file(run, best, out, form))
        else:
            print(_folder(run, best, out or run / form, form))


def _file(run: Path, best: bool, out: Path | None, form: str | None) -> str:
    """Write a file."""
    suffixes = [f".{name}" for name in ([form] if form else FILES)]
    form = form or (out.suffix[1:] if out and out.suffix in suffixes else "pt")
    out = out or (run if run.is_dir() else run.parent) / f"{FILES[form]}.{form}"
    require(out.suffix in suffixes, "--out", str(out), f"a file name that ends in {' or '.join(suffixes)}")
    require(out.parent.is_dir(), "--out", str(out), "a file in a folder that exists")
    if FILES[form] == "weights":
        from .training.export import export_weights  # imports torch, which takes seconds

        return export_weights(run, best, out)
    from .app.publish import export_network

    require(run.is_dir(), "RUN", str(run), f"a run folder, which --format {form} requires")
    return export_network(run, best, out)


def _folder(run: Path, best: bool, out: Path, form: str) -> str:
    """Write a folder."""
    require(run.is_dir(), "RUN", str(run), f"a run folder, which --format {form} requires")
    require(not out.exists(), "--out", str(out), "a new folder")
    require(out.parent.is_dir(), "--out", str(out), "a folder in a folder that exists")
    if form == "transformers":
        from .app.pretrained import export_pretrained

        return export_pretrained(run, best, out)
    require(not best, "--best", True, "no --best with --format hub, which writes the weights that the run has tested")
    from .app.publish import export_hub

    return export_hub(run, out)


if __name__ == "__main__":
    main()
