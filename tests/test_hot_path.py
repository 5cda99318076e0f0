"""What a step between updates must not do: wait for the device, or make what training without masks does not."""

import sys
from functools import partial
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

from sparseift import Masks, Plan
from sparseift.backends import Masked
from sparseift.common import cache
from sparseift.sparsifiers import RigL
from sparseift.sparsity import LayerPlan
from sparseift.tasks import Classification
from sparseift.training.callbacks import EMA, Accounting, RngState, Topology
from sparseift.training.callbacks.masks import MaskCallback
from sparseift.training.callbacks.progress import Bar
from sparseift.training.loggers import MetricsCsv
from sparseift.training.module import TrainingModule

from .waits import Waits

pytestmark = pytest.mark.filterwarnings("ignore")

INTERVAL, STEPS = 4, 10


class Made(TorchDispatchMode):
    """Notes down the size in bytes of every new tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        known = {_place(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        made = function(*args, **kwargs or {})
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor) and _place(leaf) not in known:
                self.sizes.append(leaf.untyped_storage().nbytes())
        return made


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Begin(pl.Callback):
    """The first callback: enters the modes in every step that is not one of an update."""

    def __init__(self, *modes: Any) -> None:
        self.modes = modes
        self.entered = 0
        self.inside = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if (trainer.global_step + 1) % INTERVAL and trainer.global_step > 0:  # the first step makes momenta
            self.inside = True
            self.entered += 1
            for mode in self.modes:
                mode.__enter__()

    def leave(self) -> None:
        if self.inside:
            self.inside = False
            for mode in reversed(self.modes):
                mode.__exit__(None, None, None)

    def on_exception(self, *_: Any) -> None:
        self.leave()


class End(pl.Callback):
    """The last one: leaves them."""

    def __init__(self, begin: Begin) -> None:
        self.begin = begin

    def on_train_batch_end(self, *_: Any) -> None:
        self.begin.leave()


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(48, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 5)]
    return nn.Sequential(*layers)


def fit(folder: Path, *modes: Any, masked: bool = True, extra: tuple[pl.Callback, ...] = (), **options: Any) -> Begin:
    """STEPS steps with everything that a run has; masks move in steps 4 and 8. The modes watch the others."""
    net = network()
    shapes = {name: tuple(net.get_submodule(name).weight.shape) for name in ("1", "4")}
    plan = Plan(tuple(LayerPlan(n, s, prod(s), prod(s) // 4, 2, masked=masked) for n, s in shapes.items()), 1, 1)
    rigl = RigL(update_interval=INTERVAL, begin=0.0, end=1.0, drop_fraction=0.3, anneal="cosine")
    moved = Masks.random(net, plan, seed=0) if masked else None
    task = Classification(5, 3, 4, label_smoothing=0.0)
    mask_callback = [MaskCallback(moved, plan, rigl, Masked(), task, 0)] if masked else []
    begin = Begin(*modes)
    own = [
        Accounting(plan, task, mask_callback[0] if mask_callback else None),
        RngState(),
        LearningRateMonitor(),
        Topology(),
    ]
    module = TrainingModule(
        net,
        task,
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9, fused=True),
        scheduler=None,
        scheduler_interval="epoch",
        decay_norm_and_bias=True,
    )
    settings = {"max_steps": STEPS, "accelerator": "cpu", "enable_checkpointing": False, "log_every_n_steps": 1000}
    settings |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "default_root_dir": folder}
    settings |= {"enable_progress_bar": False, "logger": MetricsCsv(folder)}
    trainer = pl.Trainer(**settings | options, callbacks=[begin, *mask_callback, *own, *extra, End(begin)])
    data = TensorDataset(torch.randn(160, 3, 4, 4), torch.arange(160) % 5)
    trainer.fit(module, DataLoader(data, 16))
    assert begin.entered == STEPS - 1 - (STEPS // INTERVAL)
    return begin


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.1}, {"enable_progress_bar": True}],
    ids=["plain", "bf16", "clipping", "bar"],
)
def test_a_step_between_updates_never_waits_for_the_device(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[Bar.__module__], "SECONDS", 1000)  # between two looks at the metrics
    bar = (
        (
            Bar(
                SimpleNamespace(density=0.5),
                Classification(5, 3, 4, label_smoothing=0.0),
                SimpleNamespace(spent={"samples": 0}),
            ),
        )
        if "enable_progress_bar" in options
        else ()
    )
    waits = Waits()
    fit(tmp_path, waits, extra=bar, **options)
    assert waits.operations and not waits.waits


def test_the_average_counts_its_steps_on_the_host() -> None:
    """torch asks in every step whether it is the first."""
    average, module = EMA(0.9), pl.LightningModule()
    module.net = nn.Linear(2, 2)
    average.setup(SimpleNamespace(), module, "fit")
    average.on_fit_start(SimpleNamespace(), module.to("meta"))
    assert average.average.module.net.weight.is_meta and average.average.n_averaged.is_cpu


def test_what_waits_is_seen() -> None:
    """The counter, against the ways to wait that there are."""
    tensor = torch.ones(3)
    for wait in (
        lambda: tensor.sum().item(),
        lambda: bool(tensor.any()),
        lambda: tensor.tolist(),
        lambda: tensor.nonzero(),
        lambda: tensor[tensor > 0],
        lambda: tensor.cpu(),
        lambda: tensor.to("cpu"),
        lambda: torch.equal(tensor, tensor),
        lambda: tensor.unique(),
    ):
        with Waits() as waits:
            wait()
        assert waits.waits


def test_masks_make_no_tensors_of_the_size_of_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the same training without masks, a step makes the numbers of one piece of the mask at a time."""
    monkeypatch.setattr(cache, "PIECE", 8)
    with_masks, without = Made(), Made()
    steps = fit(tmp_path, with_masks).entered
    assert fit(tmp_path, without, masked=False).entered == steps
    more = sorted(with_masks.sizes)
    for size in without.sizes:
        more.remove(size)
    piece = 4 * 8 * torch.get_num_threads()
    assert len(more) == 2 * steps, "one for each layer"
    assert max(more) <= piece < 4 * 48 * 64
