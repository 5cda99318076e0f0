"""The recipes as published (the authors' code; RigL, section 4.1), from the configs: rates, decay, images and steps."""

from collections.abc import Callable
from math import ceil, cos, pi
from unittest.mock import patch

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from sparseift.app.build import make
from sparseift.data.sampler import EpochBatches
from sparseift.errors import UserError
from sparseift.models import resnet18_cifar
from sparseift.training.module import TrainingModule

Compose = Callable[..., DictConfig]

CIFAR_TRAIN, IMAGENET_TRAIN = 50_000, 1_281_167


def classifier(config: DictConfig, net: nn.Module) -> TrainingModule:
    recipe = config.recipe
    return TrainingModule(
        net,
        make(config.task),
        optimizer=make(recipe.optimizer),
        scheduler=make(recipe.scheduler),
        scheduler_interval=recipe.scheduler_interval,
        decay_norm_and_bias=recipe.decay_norm_and_bias,
    )


def rates(config: DictConfig) -> list[float]:
    """The learning rate that each epoch of a run trains with."""
    parts = classifier(config, nn.Conv2d(3, 4, 3)).configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]
    assert schedule["interval"] == "epoch"
    seen = []
    for _ in range(config.recipe.epochs):
        now = {group["lr"] for group in optimizer.param_groups}
        assert len(now) == 1
        seen += now
        optimizer.step()
        schedule["scheduler"].step()
    return seen


def test_cifar_drops_at_60_120_and_160(composed: Compose) -> None:
    """Not at 61, 121 and 161, where the authors' code steps too late."""
    table = [0.1] * 60 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40
    assert rates(composed("recipe=cifar")) == pytest.approx(table, rel=1e-12)


def test_cifar_milestones_follow_the_number_of_epochs(composed: Compose) -> None:
    table = [0.1] * 3 + [0.02] * 3 + [0.004] * 2 + [0.0008] * 2
    assert rates(composed("recipe=cifar", "recipe.epochs=10")) == pytest.approx(table, rel=1e-12)


@pytest.mark.parametrize(("recipe", "epochs", "peak"), [("imagenet", 90, 0.256), ("short", 20, 0.1)])
def test_cosine_to_zero(composed: Compose, recipe: str, epochs: int, peak: float) -> None:
    table = [peak * 0.5 * (1 + cos(pi * epoch / epochs)) for epoch in range(epochs)]
    assert rates(composed(f"recipe={recipe}")) == pytest.approx(table, rel=1e-9)


def test_few_epochs_is_a_cosine_to_zero_by_steps(composed: Compose) -> None:
    """After the last step the rate is zero; the last step is made with nearly that."""
    recipe, seen = composed("recipe=few_epochs").recipe, []
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.optimizer.lr)
    schedule = make(recipe.scheduler)(optimizer, run_steps=50)
    for _ in range(50):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert recipe.scheduler_interval == "step"
    assert seen == pytest.approx([0.1 * 0.5 * (1 + cos(pi * step / 50)) for step in range(50)], rel=1e-9)
    assert optimizer.param_groups[0]["lr"] == 0


def test_rigl_warms_up_for_5_epochs_and_drops_at_30_70_and_90(composed: Compose) -> None:
    table = [0.32, 0.64, 0.96, 1.28] + [1.6] * 26 + [0.16] * 40 + [0.016] * 20 + [0.0016] * 12
    assert rates(composed("recipe=imagenet_rigl")) == pytest.approx(table, rel=1e-12)


def test_rigl_extends_its_schedule_with_training(composed: Compose) -> None:
    """Five times as long: the drops come five times as late (their code's training_steps_multiplier)."""
    five = rates(composed("recipe=imagenet_rigl", "recipe.epochs=510"))
    assert [five.count(pytest.approx(rate)) for rate in (1.6, 0.16, 0.016, 0.0016)] == [146, 200, 100, 60]


@pytest.mark.parametrize("warmup", [1, 2, 7])
def test_warm_up_is_linear_and_the_cosine_fills_the_rest(composed: Compose, warmup: int) -> None:
    rest = 90 - warmup
    table = [0.256 * (epoch + 1) / warmup for epoch in range(warmup)]
    table += [0.256 * 0.5 * (1 + cos(pi * epoch / rest)) for epoch in range(rest)]
    assert rates(composed("recipe=imagenet", f"recipe.warmup_epochs={warmup}")) == pytest.approx(table, rel=1e-9)


@pytest.mark.parametrize("warmup", [1, 5, 60])
def test_warm_up_moves_no_drop(composed: Compose, warmup: int) -> None:
    table = [0.1] * 60 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40
    table[:warmup] = [0.1 * (epoch + 1) / warmup for epoch in range(warmup)]
    assert rates(composed("recipe=cifar", f"recipe.warmup_epochs={warmup}")) == pytest.approx(table, rel=1e-12)


@pytest.mark.parametrize(
    ("recipe", "warmup", "most"), [("cifar", 61, 60), ("imagenet", 90, 89), ("cifar", -1, 60), ("short", 1.5, 19)]
)
def test_warm_up_must_end_in_time(composed: Compose, recipe: str, warmup: float, most: int) -> None:
    config = composed(f"recipe={recipe}", f"recipe.warmup_epochs={warmup}")
    with pytest.raises(UserError, match=f"^recipe.warmup_epochs is {warmup}; expected an integer from 0 to {most}"):
        rates(config)


def decays(config: DictConfig) -> dict[str, float]:
    """The weight decay of each parameter of the CIFAR ResNet-18."""
    with torch.device("meta"):
        net = resnet18_cifar(10)
    name = {id(parameter): name for name, parameter in net.named_parameters()}
    groups = classifier(config, net).configure_optimizers()["optimizer"].param_groups
    found = {name[id(parameter)]: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert found.keys() == set(name.values())
    return found


def test_cifar_decays_everything(composed: Compose) -> None:
    assert set(decays(composed("recipe=cifar")).values()) == {5e-4}


@pytest.mark.parametrize(("recipe", "decay"), [("imagenet", 1 / 32768), ("imagenet_rigl", 1e-4)])
def test_imagenet_does_not_decay_norms_and_biases(composed: Compose, recipe: str, decay: float) -> None:
    for name, value in decays(composed(f"recipe={recipe}")).items():
        is_weight = name == "fc.weight" or (name.endswith("weight") and ("conv" in name or "downsample.0" in name))
        assert value == (decay if is_weight else 0.0), name


@pytest.mark.parametrize(
    ("recipe", "epochs", "momentum", "nesterov", "smoothing"),
    [("cifar", 200, 0.9, True, 0.0), ("imagenet", 90, 0.875, False, 0.1), ("imagenet_rigl", 102, 0.9, True, 0.1)],
)
def test_the_rest_of_each_recipe(
    composed: Compose, recipe: str, epochs: int, momentum: float, nesterov: bool, smoothing: float
) -> None:
    config = composed(f"recipe={recipe}").recipe
    assert config.optimizer._target_ == "torch.optim.SGD"
    assert (config.optimizer.momentum, config.optimizer.nesterov) == (momentum, nesterov)
    assert (config.epochs, config.label_smoothing) == (epochs, smoothing)


@pytest.mark.parametrize(
    ("dataset", "mean", "std"),
    [
        (
            "cifar100",
            (0.5070751592371323, 0.48654887331495095, 0.4409178433670343),
            (0.2673342858792401, 0.2564384629170883, 0.27615047132568404),
        ),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_images_are_normalised_as_published(composed: Compose, dataset: str, mean: tuple, std: tuple) -> None:
    data = make(composed(f"dataset={dataset}").dataset)
    images = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 255)]).to(torch.uint8)
    black, white = data.on_after_batch_transfer((images, torch.zeros(2)))[0][:, :, 0, 0]
    assert black.tolist() == pytest.approx([-m / s for m, s in zip(mean, std, strict=True)], rel=1e-6)
    assert white.tolist() == pytest.approx([(1 - m) / s for m, s in zip(mean, std, strict=True)], rel=1e-6)


def test_cifar_images_are_padded_by_4_and_flipped_in_batches_of_128(composed: Compose) -> None:
    config = composed("dataset=cifar100").dataset
    assert (config.crop_padding, config.flip, config.batch_size) == (4, True, 128)


@pytest.mark.parametrize(
    ("images", "batch", "devices", "overrides", "steps", "updates"),
    [
        (CIFAR_TRAIN, 128, 1, ("experiment=cifar100/resnet18",), 391 * 200, 586),
        (IMAGENET_TRAIN, 32, 8, ("experiment=imagenet/resnet18",), 5_005 * 90, 3_378),
    ],
)
def test_number_of_steps_and_of_mask_updates(
    composed: Compose, images: int, batch: int, devices: int, overrides: tuple[str, ...], steps: int, updates: int
) -> None:
    """On all training images, the last incomplete batch of an epoch included."""
    config = composed(*overrides)
    with patch("sparseift.data.sampler.rank_and_world", lambda: (0, devices)):
        epoch = len(EpochBatches(images, batch, seed=0))
    total = epoch * config.recipe.epochs
    assert (epoch, total) == (ceil(images / (batch * devices)), steps)
    sparsifier = make(config.sparsifier)
    assert sum(sparsifier.due(step, total) for step in range(1, total + 1)) == updates


def test_rigl_s_own_masks_move_until_step_25_000_of_32_000(composed: Compose) -> None:
    sparsifier = make(composed("experiment=imagenet/resnet50_rigl").sparsifier)
    due = [step for step in range(1, 32_001) if sparsifier.due(step, 32_000)]
    assert due == list(range(100, 25_000, 100))
    assert sparsifier.fraction(100, 32_000) == pytest.approx(0.3 * (1 + cos(pi * 100 / 25_000)) / 2)


STRONG = {
    "rand_augment": {"operations": 2, "magnitude": 0.9 * 30, "probability": 0.5},
    "erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "cutmix_probability": 0.5,
}
"""Touvron et al. 2021, table 9, and Liu et al. 2022, table 5; the magnitude is 9 of 10."""


@pytest.mark.parametrize(
    ("recipe", "batch", "rate_of_512", "warmup", "average"),
    [("deit", 1024, 5e-4, 5, 0.99996), ("convnext", 4096, 5e-4, 20, 0.9999)],
)
def test_recipes_with_strong_augmentation(
    composed: Compose, recipe: str, batch: int, rate_of_512: float, warmup: int, average: float
) -> None:
    config = composed(f"recipe={recipe}", "dataset=imagenet")
    peak = rate_of_512 * batch / 512
    table = [peak * (epoch + 1) / warmup for epoch in range(warmup)]
    table += [peak * 0.5 * (1 + cos(pi * epoch / (300 - warmup))) for epoch in range(300 - warmup)]
    assert rates(config) == pytest.approx(table, rel=1e-9)
    optimizer = config.recipe.optimizer
    assert optimizer._target_ == "torch.optim.AdamW" and list(optimizer.betas) == [0.9, 0.999]
    assert (optimizer.weight_decay, config.recipe.label_smoothing) == (0.05, 0.1)
    assert config.dataset.augmentation == config.recipe.augmentation == STRONG
    assert config.callbacks.ema.decay == average
    assert {value for name, value in decays(config).items() if not name.endswith("weight")} == {0.0}


@pytest.mark.parametrize("recipe", ["cifar", "imagenet", "short", "finetune"])
def test_other_recipes_augment_as_the_data_set_does(composed: Compose, recipe: str) -> None:
    for name in ("cifar100", "imagenet", "image_folder"):
        config = composed(f"recipe={recipe}", f"dataset={name}", "dataset.num_classes=3")
        assert config.dataset.augmentation is None and "ema" not in config.callbacks


def test_finetune_is_a_short_cosine_to_zero_with_a_small_rate(composed: Compose) -> None:
    recipe, seen = composed("recipe=finetune").recipe, []
    optimizer = make(recipe.optimizer)([nn.Parameter(torch.zeros(1))])
    schedule = make(recipe.scheduler)(optimizer, run_steps=20)
    for _ in range(20):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert recipe.epochs == 10 and recipe.scheduler_interval == "step"
    assert seen == pytest.approx([1e-4 * 0.5 * (1 + cos(pi * step / 20)) for step in range(20)], rel=1e-9)
