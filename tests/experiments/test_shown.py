"""What TensorBoard and other loggers get of a run."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytorch_lightning.loggers import mlflow, wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sparseift import UserError
from sparseift.app.build import TrainingParts
from sparseift.training.callbacks.mask_pictures import picture_of

Build = Callable[..., TrainingParts]


def fitted(run: TrainingParts) -> Path:
    """The folder of the run, which has trained and was tested."""
    run.trainer.fit(run.module, run.data)
    run.trainer.validate(run.module, run.data, verbose=False)
    run.trainer.test(run.module, run.data, verbose=False)
    return Path(run.trainer.default_root_dir)


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "histograms": 0}).Reload()


def column(folder: Path, name: str) -> dict[int, float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row[name]}


def test_losses_and_accuracies_against_steps_epochs_and_flops(build: Build) -> None:
    folder = fitted(build("trainer.log_every_n_steps=2"))
    events = events_of(folder)
    flops = column(folder, "train/flops")
    for name, ends_of_epochs in {
        "train/loss": False,
        "train/loss_epoch": True,
        "train/acc1": True,
        "train/acc5": True,
        "val/loss": True,
        "val/acc1": True,
        "val/acc5": True,
    }.items():
        by_step = {step: value for step, value in column(folder, name).items() if step < 10}
        assert list(by_step) == ([4, 9] if ends_of_epochs else [1, 3, 5, 7, 9])
        by_flops = {event.step: event.value for event in events.Scalars(f"by_mflops/{name}")}
        assert by_flops == pytest.approx({round(flops[step] / 1e6): value for step, value in by_step.items()})
        if ends_of_epochs:
            by_epoch = {event.step: event.value for event in events.Scalars(f"by_epoch/{name}")}
            assert by_epoch == pytest.approx(dict(zip((1, 2), by_step.values(), strict=True)))
    assert "by_epoch/train/loss" not in events.Tags()["scalars"]


def test_learning_rate(build: Build) -> None:
    """Half a cosine over two epochs."""
    rates = column(fitted(build("trainer.log_every_n_steps=1", "recipe.optimizer.lr=0.2")), "lr-SGD")
    assert rates == pytest.approx({step: 0.2 if step < 5 else 0.1 for step in range(10)})


def test_hyperparameters_and_the_metrics_to_compare_by(build: Build) -> None:
    run = build("seed=3", "recipe.optimizer.lr=0.25")
    events = events_of(fitted(run))
    data = events.summary_metadata
    contents = {tag: HParamsPluginData.FromString(data[tag].plugin_data.content) for tag in data if "hparams" in tag}
    params = contents["_hparams_/session_start_info"].session_start_info.hparams
    assert params["recipe.optimizer.lr"].number_value == 0.25
    assert params["seed"].number_value == 3
    compared = [info.name.tag for info in contents["_hparams_/experiment"].experiment.metric_infos]
    assert compared == ["val/acc1", "test/acc1"]
    assert [event.step for event in events.Scalars("test/acc1")] == [10]  # and no made-up value before


def test_histograms_are_of_active_weights(build: Build) -> None:
    layers = "callbacks.histograms.layers=[conv1,layer1.0.*]"
    run = build("callbacks=[histograms]", "callbacks.histograms.every_n_steps=4", layers)
    events = events_of(fitted(run))
    names = ["conv1", "layer1.0.conv1", "layer1.0.conv2"]
    expected = sorted(f"{kind}/{name}" for kind in ("weights", "gradients") for name in names)
    assert sorted(events.Tags()["histograms"]) == expected
    for name in names:
        shown = events.Histograms(f"weights/{name}")
        assert [event.step for event in shown] == [3, 7]
        weight = run.net.get_submodule(name).weight
        active = run.masks.active.get(name, weight.numel())
        assert [event.histogram_value.num for event in shown] == [active, active]


def test_pictures_of_masks(build: Build) -> None:
    run = build("callbacks=[mask_pictures]", "callbacks.mask_pictures.layers=[layer4.*.conv2]")
    events = events_of(fitted(run))
    tag = "masks/layer4.0.conv2"
    assert sorted(events.Tags()["images"]) == [tag, "masks/layer4.1.conv2"]
    assert [image.step for image in events.Images(tag)] == [0, 4, 9]
    outputs, inputs = run.net.layer4[0].conv2.weight.flatten(1).shape
    assert {(image.height, image.width) for image in events.Images(tag)} == {(outputs, min(inputs, 512))}


def test_there_are_no_pictures_of_a_network_without_masks(build: Build) -> None:
    run = fitted(build("callbacks=[mask_pictures]", "member=dense", "recipe.epochs=1"))
    assert events_of(run).Tags()["images"] == []


def test_a_pixel_is_a_weight_or_a_density() -> None:
    mask = torch.rand(4, 3, 2, 2) < 0.5
    assert torch.equal(picture_of(mask, 12), mask.flatten(1).float())
    assert torch.equal(picture_of(mask, 2)[1, 1], mask.flatten(1)[2:, 6:].float().mean())


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("callbacks=[histograms]", "logger=none"), r"callbacks=histograms writes to TensorBoard.*logger="),
        (("callbacks=[mask_pictures]", "logger=none"), r"callbacks=mask_pictures writes to TensorBoard"),
        (
            ("callbacks=[mask_pictures]", "callbacks.mask_pictures.layers=[conv9]"),
            "layers is 'conv9'; expected a name or glob that matches",
        ),
        (
            ("callbacks=[histograms]", "callbacks.histograms.layers=[bn]"),
            "histograms.layers is 'bn'; expected a name or glob that matches",
        ),
    ],
)
def test_requests_that_come_to_nothing(build: Build, overrides: tuple[str, ...], told: str) -> None:
    run = build(*overrides)
    with pytest.raises(UserError, match=told):
        run.trainer.fit(run.module, run.data)


@pytest.mark.parametrize("callback", ["spectral", "histograms"])
def test_a_run_too_short_for_a_request(build: Build, callback: str) -> None:
    run = build(f"callbacks=[{callback}]", f"callbacks.{callback}.every_n_steps=11")
    with pytest.warns(match=f"callbacks.{callback}.every_n_steps is 11, but this run has only 10 steps"):
        fitted(run)


@pytest.mark.parametrize("key", ["spectral.every_n_steps=0", "histograms.every_n_steps=x", "mask_pictures.side=0"])
def test_values_that_would_fail_later(build: Build, key: str) -> None:
    callback, name = key.partition("=")[0].split(".")
    with pytest.raises(UserError, match=f"{name}.* is"):
        build(f"callbacks=[{callback}]", f"callbacks.{key}")


def test_without_loggers_there_is_metrics_csv(build: Build) -> None:
    folder = fitted(build("logger=none"))
    assert not (folder / "tensorboard").exists()
    assert column(folder, "test/acc1")


@pytest.mark.parametrize("module", [wandb, mlflow])
def test_a_package_that_is_not_there(build: Build, monkeypatch, module) -> None:
    name = module.__name__.split(".")[-1]
    monkeypatch.setattr(module, f"_{name.upper()}_AVAILABLE", False)
    with pytest.raises(UserError, match=f"^logger={name} needs the package {name}: pip install {name}$"):
        build(f"logger=[tensorboard,{name}]")
