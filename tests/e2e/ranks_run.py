"""sparseift.train on two ranks, each of which notes its weights, masks, the bytes that it stores, and the images it
trained on in rank_N.json.

With CORRUPT=LAYER in the environment, the mask of that layer is another one on rank 1 from the third step on. With
SIGNAL="RANK NUMBER" that rank gets the signal of that number at the beginning of step 13. With EARLY="kill" or "raise"
rank 1 ends so before the ranks meet. With WAITS in the environment, rank_N.json also has what each step between updates
makes its host wait for, and what the ranks exchange. SILENCE, GRACE and POLL are the seconds of these names.
"""

import json
import os
import signal

import torch
from waits import Waits

from sparseift import train
from sparseift.masks.sharded import whole
from sparseift.training import heartbeat, ranks
from sparseift.training.active_gradients import ActiveGradients
from sparseift.training.callbacks import Preemption, RngState
from sparseift.training.callbacks.masks import MaskCallback
from sparseift.training.memory import stored


def main() -> None:
    images, watched = [], []

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        images.append(module.task.samples(batch))

    def on_train_end(self, trainer, module) -> None:
        seen = {"masks": self.masks.sha256(), "images": images, "step": trainer.global_step}
        seen["watched"] = watched
        seen["sent"] = [callback.sent for callback in trainer.callbacks if isinstance(callback, ActiveGradients)]
        seen["random"] = torch.rand(3).tolist()
        seen["weights"] = [float(whole(weight.detach()).double().sum()) for weight in self.masks.weights.values()]
        seen["stored"] = stored(module, trainer.optimizers, self.masks)
        with open(os.path.join(trainer.default_root_dir, f"rank_{trainer.global_rank}.json"), "w") as file:
            json.dump(seen, file)

    def on_train_batch_start(self, trainer, *_) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 2:
            for callback in trainer.callbacks:
                if isinstance(callback, MaskCallback):
                    mask = callback.masks[os.environ["CORRUPT"]]
                    callback.masks[os.environ["CORRUPT"]] = mask.flip(0)
                    callback.masks.apply()

    def signalled(self, trainer, *_) -> None:
        rank, number = map(int, os.environ["SIGNAL"].split())
        if trainer.global_rank == rank and trainer.global_step == 12:
            os.kill(os.getpid(), number)

    def early(self, seed: int) -> None:
        if os.environ["EARLY"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("rank 1 fails early")

    def begin(self, trainer, *rest) -> None:
        start_batch(self, trainer, *rest)
        self.watch = None if self.update_due or not trainer.global_step else Waits()
        if self.watch:
            self.watch.__enter__()

    def end(self, trainer, *rest) -> None:
        end_batch(self, trainer, *rest)
        masked = next(callback for callback in trainer.callbacks if isinstance(callback, MaskCallback))
        if masked.watch:
            masked.watch.__exit__()
            watched.append({"waits": masked.watch.waits, "exchanges": masked.watch.exchanges})

    start_batch, end_batch = MaskCallback.on_train_batch_start, Preemption.on_train_batch_end
    if "WAITS" in os.environ:
        MaskCallback.on_train_batch_start, Preemption.on_train_batch_end = begin, end
    heartbeat.SILENCE = float(os.environ.get("SILENCE", heartbeat.SILENCE))
    heartbeat.POLL = ranks.POLL = float(os.environ.get("POLL", heartbeat.POLL))
    ranks.GRACE = float(os.environ.get("GRACE", ranks.GRACE))
    if "EARLY" in os.environ and os.environ.get("LOCAL_RANK") == "1":
        RngState.__init__ = early
    if "SIGNAL" in os.environ:
        RngState.on_train_batch_start = signalled
    if "CORRUPT" in os.environ:
        RngState.on_train_batch_start = on_train_batch_start
    RngState.on_train_batch_end = on_train_batch_end
    MaskCallback.on_train_end = on_train_end
    train.main()


if __name__ == "__main__":
    main()
