"""sparseift.train that kills itself: killed_run.main() with the arguments HOOK STEP OVERRIDES...

HOOK is a hook of Lightning callbacks, or the name of a checkpoint file for the middle of writing it, or "saved" for the
moment after writing last.ckpt; SIGKILL, or the signal of that number in SIGNAL in the environment, comes when it runs
with `trainer.global_step` at STEP.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from sparseift import train
from sparseift.training.callbacks import RngState
from sparseift.training.checkpoints.io import AtomicCheckpointIO


def die() -> None:
    os.kill(os.getpid(), int(os.environ.get("SIGNAL", signal.SIGKILL)))


def kill_in_save(name: str, step: int) -> None:
    write = torch.save

    def half_written(content, file) -> None:
        if content["global_step"] == step and Path(file.name).stem == Path(name).stem:
            file.write(b"PK\3\4 half a checkpoint")
            file.flush()
            die()
        write(content, file)

    torch.save = half_written


def kill_when_saved(step: int) -> None:
    save = AtomicCheckpointIO.save_checkpoint

    def killing(self, checkpoint, path, **options) -> None:
        save(self, checkpoint, path, **options)
        if checkpoint["global_step"] == step and Path(path).name == "last.ckpt":
            die()

    AtomicCheckpointIO.save_checkpoint = killing


def kill_in_hook(hook: str, step: int) -> None:
    before = getattr(RngState, hook)

    def killing(self, trainer, *arguments, **named):
        if trainer.global_step == step:
            die()
        return before(self, trainer, *arguments, **named)

    setattr(RngState, hook, killing)


def main() -> None:
    where, step = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    if where == "saved":
        kill_when_saved(step)
    else:
        (kill_in_save if where.endswith(".ckpt") else kill_in_hook)(where, step)
    train.main()


if __name__ == "__main__":
    main()
