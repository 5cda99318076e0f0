"""python -m sparseift.export RUN: the weights of a run as a plain state dict, for use without this package."""

from __future__ import annotations

from pathlib import Path

import torch

from .app.messages import Arguments, one_line_errors
from .common.console import waiting
from .common.files import replacing
from .errors import UserError
from .training.checkpoints.codec import network_state, read_checkpoint


def main() -> None:
    parser = Arguments(
        prog="python -m sparseift.export",
        description="The weights of a run as a plain state dict: names are the network's own, masked weights are zero",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or a checkpoint")
    parser.add_argument("--best", action="store_true", help="of best.ckpt, not of last.ckpt")
    parser.add_argument("--out", type=Path, metavar="FILE", help=".pt or .safetensors (weights.pt in RUN)")
    with one_line_errors():
        arguments = parser.parse_args()
        export(arguments.run, arguments.best, arguments.out)


def export(run: Path, best: bool, out: Path | None) -> None:
    """Write the state dict of the network of a checkpoint; of the averaged weights, if the run averages them."""
    from .training.checkpoints.files import BEST, find_checkpoint

    if best and not run.is_dir():
        raise UserError(f"--best goes with a run folder, and {run} is none")
    checkpoint = find_checkpoint(run / "checkpoints" / BEST if best else run)
    out = out or (run if run.is_dir() else run.parent) / "weights.pt"
    if out.suffix not in (".pt", ".safetensors"):
        raise UserError(f"--out {out}: the end of the name says the format, .pt or .safetensors")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")
    with waiting(out.name):
        saved = read_checkpoint(checkpoint)
        # Each tensor with memory of its own, also where weights are shared: safetensors wants it so.
        state = {name: tensor.clone() for name, tensor in network_state(saved).items()}
        if not state:
            raise UserError(f"{checkpoint} holds no network of sparseift.train")
        with replacing(out) as partial:
            _write(state, partial, out.suffix)
    print(f"{len(state)} tensors of {checkpoint} in {out}")


def _write(state: dict[str, torch.Tensor], path: Path, suffix: str) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save

        path.write_bytes(save(state, metadata={"format": "pt"}))
    else:
        with path.open("wb") as file:
            torch.save(state, file)


if __name__ == "__main__":
    main()
