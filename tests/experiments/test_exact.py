"""Masks hold in every run: under optimizers that mix weights, averages of weights, and callbacks that change them."""

from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from sparseift import UserError
from sparseift.app.build import TrainingParts
from sparseift.masks.bits import unpack
from sparseift.training.checkpoints.codec import mask_state, network_state, read_checkpoint

Build = Callable[..., TrainingParts]
MOVING = "sparsifier.update_interval=2"
NO_SGD = tuple(f"~recipe.optimizer.{name}" for name in ("momentum", "nesterov", "weight_decay"))
AVERAGES = {
    "swa": "+callbacks.swa={_target_:pytorch_lightning.callbacks.StochasticWeightAveraging,swa_lrs:0.05,"
    "swa_epoch_start:1}",
    "average": "+callbacks.average={_target_:pytorch_lightning.callbacks.WeightAveraging}",
    "ema": "+callbacks.average={_target_:pytorch_lightning.callbacks.EMAWeightAveraging,decay:0.9}",
}
MIXING = {
    "muon": ("recipe.optimizer._target_=timm.optim.Muon", *NO_SGD, "recipe.optimizer.lr=0.01"),
    "lbfgs": ("recipe.optimizer._target_=torch.optim.LBFGS", *NO_SGD, "+recipe.optimizer.max_iter=2"),
}
SAID = r"^a callback, such as an average of weights, changed masked weights of "


class Look(pl.Callback):
    """The layers that are not zero outside their masks, whenever the network is used."""

    def __init__(self, run: TrainingParts):
        self.run = run
        self.looks = 0

    def look(self, *_) -> None:
        self.looks += 1
        assert self.run.masks.nonzero_outside() == []

    on_train_batch_start = on_validation_batch_start = on_test_batch_start = on_train_batch_end = look


def trained(run: TrainingParts) -> TrainingParts:
    look = Look(run)
    run.trainer.callbacks.append(look)
    run.trainer.fit(run.module, run.data)
    run.trainer.test(run.module, run.data, verbose=False)
    run.check_masks()
    assert look.looks > 20 and run.masks.nonzero_outside() == []
    assert any(run.masks.moves.values())
    return run


@pytest.mark.parametrize("name", MIXING)
def test_masks_hold_under_optimizers_that_mix_weights(name: str, build: Build) -> None:
    run = trained(build(MOVING, *MIXING[name]))
    saved = read_checkpoint(run.trainer.default_root_dir + "/checkpoints/last.ckpt")
    for layer, bits in mask_state(saved)["masks"].items():
        weight = network_state(saved)[f"{layer}.weight"]
        assert not weight[~unpack(bits, tuple(weight.shape))].any()


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_of_lightning_are_masked_and_the_run_says_so(name: str, build: Build) -> None:
    run = build(MOVING, AVERAGES[name], "recipe.epochs=3")
    with pytest.warns(UserWarning, match=SAID):
        trained(run)


def test_a_saved_average_is_masked_when_it_is_loaded(build: Build) -> None:
    """Without validation, a checkpoint of `WeightAveraging` is denser than its masks."""
    run = build(MOVING, AVERAGES["average"], "dataset.val_size=0", "sparsifier.end=1.0")
    with pytest.warns(UserWarning, match=SAID):
        run.trainer.fit(run.module, run.data)
    checkpoint = run.trainer.default_root_dir + "/checkpoints/last.ckpt"
    expected = {name: tensor.clone() for name, tensor in run.net.state_dict().items()}
    saved = network_state(read_checkpoint(checkpoint))
    assert any(saved[f"{name}.weight"][~run.masks[name]].any() for name in run.masks)
    run.load(checkpoint)
    run.check_masks()
    assert all(torch.equal(run.net.state_dict()[name], tensor) for name, tensor in expected.items())


def test_a_network_that_is_not_sparse_after_training_is_refused(build: Build) -> None:
    run = build("sparsifier=static", "recipe.epochs=1")
    run.trainer.fit(run.module, run.data)
    run.check_masks()
    name, *_ = run.masks
    layer = run.net.get_submodule(name)
    with torch.no_grad():
        layer.weight[~run.masks[name]] = torch.nan
    with pytest.raises(UserError, match=f"^masked weights of {name} are not zero after training: "):
        run.check_masks()
    run.masks.apply()
    run.module.net = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(UserError, match=f"^the masked weight of {name} is not in the network that trains; "):
        run.check_masks()


@pytest.mark.parametrize("how", ["pruned", "copied"])
def test_a_network_that_is_changed_before_training_is_refused_before_the_first_step(how: str, build: Build) -> None:
    class Change(pl.Callback):
        def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
            layer = module.net.layer1[0].conv1
            if how == "pruned":
                nn.utils.prune.identity(layer, "weight")
            else:
                module.net.layer1[0].conv1 = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, bias=False)

    run = build("recipe.epochs=1", "sparsifier.update_interval=2")
    run.trainer.callbacks.insert(0, Change())
    with pytest.raises(UserError, match=r"^the (masked )?weight of layer1\.0\.conv1 is ") as error:
        run.trainer.fit(run.module, run.data)
    assert "\n" not in str(error.value) and run.trainer.global_step == 0


def test_layers_that_are_unfrozen_later_train_under_their_masks(build: Build) -> None:
    """Lightning's `BackboneFinetuning` does it in this way."""

    class Unfreeze(pl.Callback):
        def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
            module.net.layer1.requires_grad_(False)

        def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                module.net.layer1.requires_grad_(True)
                parameters = list(module.net.layer1.parameters())
                trainer.optimizers[0].add_param_group({"params": parameters, "weight_decay": 0.0})

    run = build(MOVING, "sparsifier.end=1.0")
    run.trainer.callbacks.insert(0, Unfreeze())
    before = run.net.layer1[0].conv1.weight.detach() * run.masks["layer1.0.conv1"]
    trained(run)
    assert run.masks.moves["layer1.0.conv1"] > 0
    assert not torch.equal(run.net.layer1[0].conv1.weight, before)
