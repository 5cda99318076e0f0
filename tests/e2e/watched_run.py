"""sparseift.train that notes in states.json what a kill would leave: after every file that it replaces, the step of
last.ckpt and the content of metrics.csv."""

import json
import os
from pathlib import Path

import torch

from sparseift import train

RUN = Path("run")


def main() -> None:
    states, step, replace = [], 0, os.replace

    def noting(source, target, **named) -> None:
        nonlocal step
        replace(source, target, **named)
        if Path(target).name == "last.ckpt":
            step = torch.load(target, weights_only=True)["global_step"]
        log = RUN / "metrics.csv"
        states.append([step, log.read_text() if log.exists() else ""])

    os.replace = noting
    train.main()
    Path("states.json").write_text(json.dumps(states))


if __name__ == "__main__":
    main()
