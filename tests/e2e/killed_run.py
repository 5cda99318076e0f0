"""sparseift.train that kills itself: python killed_run.py HOOK STEP OVERRIDES...

HOOK is a hook of Lightning callbacks, or 'save' for the middle of writing a checkpoint; SIGKILL comes when it runs
with `trainer.global_step` at STEP.
"""

import os
import signal
import sys

import torch

from sparseift import train
from sparseift.callbacks import RngState
from sparseift.callbacks import checkpoint as checkpoints


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    hook, step = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    if hook == "save":
        write = torch.save

        def half_written(content, file) -> None:
            if isinstance(content, dict) and content.get("global_step") == step:
                file.write(b"PK\3\4 half a checkpoint")
                file.flush()
                die()
            write(content, file)

        checkpoints.torch.save = half_written
    else:
        before = getattr(RngState, hook)

        def killing(self, trainer, *arguments):
            if trainer.global_step == step:
                die()
            return before(self, trainer, *arguments)

        setattr(RngState, hook, killing)
    train.main()


if __name__ == "__main__":
    main()
