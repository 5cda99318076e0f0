"""sparseift.train twice in the same folder: the second process looks into it after the first has begun to train.

The second writes to second.out and second.err, and its exit code to second.code.
"""

import os
import time
from pathlib import Path

import pytorch_lightning as pl

from sparseift import train
from sparseift.app import folder
from sparseift.training.callbacks import Checkpoint

RUN = Path("run")
LOOKS = Path("second.looks")


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def second() -> int:
    for number, name in ((1, "second.out"), (2, "second.err")):
        with open(name, "w") as file:
            os.dup2(file.fileno(), number)
    wait_for(RUN / ".hydra/config.yaml")
    claim = folder.RunFolder.claim

    def telling(*arguments, **named) -> None:
        LOOKS.touch()
        claim(*arguments, **named)

    folder.RunFolder.claim, folder.PATIENCE = telling, 600
    try:
        train.main()
    except SystemExit as end:
        return end.code or 0
    return 0


def main() -> None:
    if os.fork() == 0:
        code = second()
        Path("second.code").write_text(str(code))
        os._exit(0)
    start = Checkpoint.on_train_start

    def waiting(self: Checkpoint, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        wait_for(LOOKS)
        assert not self.folder.exists()
        start(self, trainer, module)

    Checkpoint.on_train_start = waiting
    train.main()
    os.wait()


if __name__ == "__main__":
    main()
