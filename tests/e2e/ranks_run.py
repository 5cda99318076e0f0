"""sparseift.train on two ranks, each of which notes its masks and the images it trained on in rank_N.json."""

import json
import os

from sparseift import train
from sparseift.callbacks import RngState
from sparseift.sparsifiers.callback import MaskCallback


def main() -> None:
    images = []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        images.append(len(batch[0]))

    def on_train_end(self, trainer, module) -> None:
        seen = {"masks": self.masks.sha256(), "images": images, "step": trainer.global_step}
        with open(os.path.join(trainer.default_root_dir, f"rank_{trainer.global_rank}.json"), "w") as file:
            json.dump(seen, file)

    RngState.on_train_batch_end = on_train_batch_end
    MaskCallback.on_train_end = on_train_end
    train.main()


if __name__ == "__main__":
    main()
