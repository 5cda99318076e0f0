"""Updates and applies the masks during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import Any

import pytorch_lightning as pl
import torch

from ...backends import Backend
from ...common.console import waiting
from ...common.messages import one_line
from ...errors import UserError
from ...masks import Masks
from ...masks.optimizers import keeps_zeros
from ...sparsifiers import Sparsifier, Update
from ...sparsifiers.probe import Objective, Probe
from ...sparsity import Plan
from .steps import NeedsSteps, total_steps


class ObservesMasks(pl.Callback):
    """Base of callbacks that read the masks of a run.

    Attributes:
        mask_callback: The mask callback of the run, set by its `setup`; None if nothing is masked.
    """

    mask_callback: MaskCallback | None = None


class MaskCallback(NeedsSteps):
    """Calls the sparsifier and the backend during training.

    Masks are updated before an optimizer step, when gradients are accumulated, averaged over ranks and unscaled, but
    not clipped. All ranks therefore update their masks alike, which this callback verifies. After the step of an
    optimizer that is not known to keep zeros (`optimizers.ELEMENTWISE`), masked weights are set to zero.

    Place it before all callbacks that read the masks. It sets the `mask_callback` of every `ObservesMasks`.

    Args:
        masks: Masks of the network.
        plan: The plan of the masks.
        sparsifier: Chooses the initial masks and updates them.
        backend: Computes the masked layers.
        task: Provides inputs and loss for sparsifiers that score weights with training batches.
        seed: Seed of the sparsifier's random numbers.

    Attributes:
        refused: Why the backend leaves a masked layer to dense kernels, by name of the layer.
        probed: Samples from which the initial masks were computed, on all ranks; one per forward and backward pass.
        update_due: Whether the current optimizer step updates the masks.
        updated_at: Optimizer step (1, 2, ...) of the last update in this process; 0 before the first update.
        updates: Number of updates that have changed masks, also before a resume. None if the run has resumed from a
            checkpoint that does not record it, until training starts.
        drop_fraction: Drop fraction of the last update.

    Raises:
        UserError: The backend can compute no masked layer.
    """

    def __init__(self, masks: Masks, plan: Plan, sparsifier: Sparsifier, backend: Backend, task: Objective, seed: int):
        self.refused = {
            name: reason for name, layer in masks.layers.items() if (reason := backend.refusal(layer, masks.pattern))
        }
        if len(self.refused) == len(masks):
            name, reason = next(iter(self.refused.items()))
            raise UserError(f"backend {type(backend).__name__} cannot compute {name}: {reason}")
        self.masks = masks
        self.plan = plan
        self.sparsifier = sparsifier
        self.backend = backend
        self.task = task
        self.seed = seed
        self.probed = 0
        self.update_due = False
        self.updated_at = 0
        self.updates: int | None = 0
        self.drop_fraction = 0.0
        self._resumed = False
        self._attached = False
        self._mixes = False
        self._total = 0

    @property
    def reads_dense_gradients(self) -> bool:
        """Whether the current optimizer step reads the gradients of masked weights."""
        return self.update_due and self.sparsifier.dense_gradient

    @property
    def as_sparse_as_planned(self) -> bool:
        """Whether the sparsifier has finished pruning, or never prunes."""
        return not self.sparsifier.prunes or self.masks.active == self.masks.planned

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # its connector sets it
            if isinstance(callback, ObservesMasks):
                callback.mask_callback = self

    def check_steps(self, total: int) -> None:
        self.sparsifier.check_updates(total)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.masks.to_weights()
        self.masks.check_trained(trainer.optimizers, pl_module)
        self._mixes = not all(keeps_zeros(optimizer) for optimizer in trainer.optimizers)
        self._total = total_steps(trainer)
        if self.sparsifier.moves and trainer.is_global_zero:
            print(_in_words(self.sparsifier.updates(self._total), self._total), flush=True)
        if self.refused and trainer.is_global_zero:
            print(_refused_in_words(type(self.backend).__name__, self.refused, len(self.masks)), flush=True)
        if self.updates is None:
            self.updates = sum(step <= trainer.global_step for step in self.sparsifier.updates(self._total))
        if not self._resumed:
            with waiting("initial masks"):
                probe = self._probe(trainer, pl_module) if self.sparsifier.batches else None
                self.sparsifier.start(self.masks, self.plan, self.seed, probe)
            self.probed = probe.samples * trainer.world_size if probe else 0
        self.masks.apply()
        try:
            self.backend.attach(pl_module.get_submodule("net"), self.masks)
        except Exception as error:
            raise UserError(f"backend {type(self.backend).__name__} cannot be attached: {one_line(error)}") from error
        self._attached = True
        self._verify(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.update_due = self.sparsifier.due(trainer.global_step + 1, self._total)
        self.backend.dense_gradients(self.reads_dense_gradients)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        step = trainer.global_step + 1
        if self.update_due and step != self.updated_at:  # L-BFGS evaluates a step several times
            before = dict(self.masks.moves)
            self.sparsifier.update(self.masks, trainer.optimizers, Update(step, self._total, self.seed))
            self._verify(trainer)
            self.updated_at, self.drop_fraction = step, self.sparsifier.fraction(step, self._total)
            if moved := [name for name, moves in self.masks.moves.items() if moves != before[name]]:
                self.updates = (self.updates or 0) + 1
                self.backend.moved(moved)
        self.backend.mask_gradients()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._mixes:
            self.masks.apply()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._check_weights()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._detach(pl_module)
        self._check_weights()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._detach(pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {
            "masks": self.masks.state_dict(),
            "active": dict(self.masks.active),
            "planned": dict(self.masks.planned),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, count in self.masks.planned.items():
            saved = state["planned"].get(name, count)
            if saved != count:
                raise UserError(
                    f"the saved mask of {name} is planned to end with {saved} active weights, not {count}: "
                    "sparsity differs"
                )
        self.masks.load_state_dict(state["masks"], state["active"])
        self.updates = state.get("updates")
        self._resumed = True

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.state_key not in checkpoint.get("callbacks", {}):
            raise UserError(
                "the checkpoint has no masks: a sparse run cannot resume from the checkpoint of a dense run"
            )

    def _detach(self, pl_module: pl.LightningModule) -> None:
        if self._attached:
            self._attached = False
            self.backend.detach(pl_module.get_submodule("net"))

    def _check_weights(self) -> None:
        """Raise `UserError` if training has changed masked weights."""
        if wrong := self.masks.nonzero_outside():
            raise UserError(f"backend {type(self.backend).__name__} has changed masked weights of {', '.join(wrong)}")

    def _verify(self, trainer: pl.Trainer) -> None:
        """Raise an error if the masks of the ranks differ."""
        if trainer.world_size == 1:
            return
        of_all = trainer.strategy.all_gather(self.masks.checksums())
        differs = (of_all != of_all[0]).any(0).tolist()
        if different := [name for name, wrong in zip(self.masks, differs, strict=True) if wrong]:
            raise RuntimeError(
                f"ranks have different masks of {', '.join(different)} in step {trainer.global_step + 1}"
            )

    def _probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Probe:
        """The network with the first training batches of this rank, from a loader of its own."""
        strategy = trainer.strategy
        with torch.random.fork_rng(devices=[]):  # making an iterator may draw a seed
            loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]  # its connector sets it
            batches = list(islice(loader, self.sparsifier.batches))
        on_device = [strategy.batch_to_device(strategy.precision_plugin.convert_input(batch)) for batch in batches]
        mean = partial(strategy.reduce, reduce_op="mean")
        return Probe(pl_module, self.masks.weights, on_device, self.task, mean)


def _in_words(steps: Sequence[int], total: int) -> str:
    """Describe the optimizer steps, of `total`, that update the masks."""
    if not steps:
        return f"masks never move in the {total} steps of this run"
    if len(steps) == 1:
        return f"masks move once: in step {steps[0]} of {total}"
    intervals = {after - before for before, after in pairwise((0, *steps))}
    how = f"every {steps[0]} steps" if len(intervals) == 1 else f"from step {steps[0]}"
    return f"masks move {len(steps)} times: {how} until step {steps[-1]} of {total}"


def _refused_in_words(backend: str, refused: Mapping[str, str], layers: int) -> str:
    """Describe the masked layers, of `layers`, that the backend leaves to dense kernels."""
    name, reason = next(iter(refused.items()))
    return f"backend {backend} leaves {len(refused)} of {layers} masked layers to dense kernels: {name}: {reason}"
