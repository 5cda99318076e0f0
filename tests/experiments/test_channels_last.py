"""Another order in memory, the same training."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from sparseift.app.build import TrainingParts
from sparseift.training.callbacks import suits_channels_last

Build = Callable[..., TrainingParts]
LAST = "callbacks=[channels_last]"
MOVING = "sparsifier.update_interval=2"


class Layouts(pl.Callback):
    """Strides in the last step: of weights, and of what is kept of them."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_) -> None:
        masks = trainer.callbacks[0].masks
        (optimizer,) = trainer.optimizers
        self.weights = {name: weight.stride() for name, weight in masks.weights.items()}
        self.masks = {name: masks[name].stride() for name in masks}
        self.momenta = {
            name: optimizer.state[weight]["momentum_buffer"].stride() for name, weight in masks.weights.items()
        }


class Stop(pl.Callback):
    def on_train_batch_start(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step == 6:
            raise KeyboardInterrupt


def fit(run: TrainingParts, **checkpoint) -> Layouts:
    layouts = Layouts()
    run.trainer.callbacks.append(layouts)
    run.trainer.fit(run.module, run.data, weights_only=True, **checkpoint)
    return layouts


def test_the_same_numbers_in_another_order(build: Build) -> None:
    plain = build(MOVING, "trainer.precision=64-true", folder="plain")
    last = build(MOVING, "trainer.precision=64-true", LAST, folder="last")
    fit(plain)
    layouts = fit(last)
    assert plain.masks.sha256() == last.masks.sha256()
    for name, tensor in plain.net.state_dict().items():
        torch.testing.assert_close(last.net.state_dict()[name], tensor, rtol=1e-6, atol=1e-9)
    channels = last.net.layer1[0].conv1.weight.shape[1]
    assert layouts.weights["layer1.0.conv1"] == (9 * channels, 1, 3 * channels, channels)
    assert layouts.masks == layouts.momenta == layouts.weights


def test_narrow_convolutions_with_a_stride_keep_the_usual_order(build: Build) -> None:
    """Where a run of this width has 4 input channels, oneDNN would write past the end of the weight gradient."""
    run = build(LAST, "member=dense")
    usual: dict[str, bool] = {}

    def look(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: usual.update({name: output.is_contiguous()})

    for name in ("layer1.0.conv1", "layer2.0.conv1", "layer2.0.downsample.0"):
        run.net.get_submodule(name).register_forward_hook(look(name))
    run.trainer.fit(run.module, run.data)
    assert usual == {"layer1.0.conv1": False, "layer2.0.conv1": False, "layer2.0.downsample.0": True}


def test_a_resumed_run_has_the_order_too(build: Build) -> None:
    """Checkpoints do not: a fused step would multiply weights by momenta of others."""
    overrides = (MOVING, LAST, "checkpoint.every_n_steps=1")
    whole = build(*overrides, folder="whole")
    fit(whole)
    first = build(*overrides, folder="parts")
    first.trainer.callbacks.append(Stop())
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(first)
    second = build(*overrides, folder="parts")
    layouts = fit(second, ckpt_path=f"{second.trainer.default_root_dir}/checkpoints/last.ckpt")
    assert layouts.masks == layouts.momenta == layouts.weights
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(second.module.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("device", "precision", "shape", "dtype", "suits"),
    [
        ("cuda", "bf16-mixed", (1, 3, 8, 8), torch.float32, True),
        ("cuda", "32-true", (1, 3, 8, 8), torch.float32, False),
        ("cpu", "bf16-mixed", (1, 3, 8, 8), torch.float32, False),
        ("cuda", "16-mixed", (1, 8), torch.int64, False),
    ],
)
def test_where_it_is_faster(device: str, precision: str, shape: tuple, dtype: torch.dtype, suits: bool) -> None:
    strategy = SimpleNamespace(root_device=torch.device(device))
    example = torch.empty(shape, dtype=dtype, device="meta")
    assert suits_channels_last(SimpleNamespace(strategy=strategy, precision=precision), example) == suits
