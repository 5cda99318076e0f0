"""What a run logs about its masks, against the masks that it had; and that a resumed run logs the same."""

import csv
from collections.abc import Callable
from math import isnan
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from sparseift.app.build import TrainingParts
from sparseift.masks.history import HISTORY_MEASURES, MaskHistory
from sparseift.masks.spectral_gaps import spectral_gaps

Build = Callable[..., TrainingParts]
MOVING = "sparsifier.update_interval=2"  # masks move in steps 2, 4 and 6 of 10, five an epoch
UPDATES = (2, 4, 6)


class Witness(pl.Callback):
    """The masks of the network at the start and after each step; stops before step `until`."""

    def __init__(self, run: TrainingParts, until: int | None = None):
        self.run = run
        self.until = until
        self.seen: list[dict[str, Tensor]] = []

    def _look(self) -> None:
        self.seen.append({name: self.run.masks[name].clone() for name in self.run.masks})

    def on_train_start(self, *_) -> None:
        self._look()

    def on_train_batch_start(self, trainer: pl.Trainer, *_) -> None:
        if trainer.global_step == self.until:
            raise KeyboardInterrupt

    def on_train_batch_end(self, *_) -> None:
        self._look()


def fit(run: TrainingParts, until: int | None = None, checkpoint: Path | None = None) -> Witness:
    witness = Witness(run, until)
    run.trainer.callbacks.append(witness)
    run.trainer.fit(run.module, run.data, ckpt_path=checkpoint, weights_only=True)
    return witness


def rows(run: TrainingParts, *prefixes: str) -> list[dict[str, float]]:
    """Of metrics.csv, where a column begins with one of these."""
    with (Path(run.trainer.default_root_dir) / "metrics.csv").open(newline="") as file:
        filled = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in filled if any(key.startswith(prefixes) for key in row)]


def layer_rows(run: TrainingParts) -> list[dict[str, float]]:
    """Of layers.csv: what was logged of all layers in a step."""
    steps: dict[str, dict[str, float]] = {}
    with (Path(run.trainer.default_root_dir) / "layers.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            step, layer = row.pop("step"), row.pop("layer")
            values = {f"{layer}/{name}": float(value) for name, value in row.items() if value}
            merged = steps.setdefault(step, {"step": float(step)})
            assert not merged.keys() & values.keys()
            merged |= values
    return list(steps.values())


def test_the_network_at_the_start_and_at_every_update(build: Build) -> None:
    run = build(MOVING)
    seen = fit(run).seen
    start, *updates = rows(run, "masks/")
    assert start == {"step": 0, "masks/itop": start["masks/density"], "masks/constraint": start["masks/density"]} | {
        "masks/density": pytest.approx(run.plan.density),
        "masks/hamming": 0,
        "masks/dead_channels": start["masks/dead_channels"],
    }
    assert [row["step"] for row in updates] == [step - 1 for step in UPDATES]
    for row, step in zip(updates, UPDATES, strict=True):
        all_of = [torch.cat([masks[name].flatten() for name in masks]) for masks in seen[: step + 1]]
        now, past = all_of[-1], torch.stack(all_of)
        assert row["masks/itop"] == pytest.approx(past.any(0).double().mean().item())
        assert row["masks/constraint"] == pytest.approx(past.all(0).double().mean().item())
        assert row["masks/hamming"] == pytest.approx((now != past[0]).double().mean().item())
        assert row["masks/density"] == pytest.approx(now.double().mean().item())
        assert row["masks/replaced"] == pytest.approx(int((now & ~past[-2]).sum()) / int(now.sum()))
        assert 0 < row["masks/replaced"] <= row["masks/drop_fraction"] < 0.3


def test_layers_at_the_ends_of_epochs(build: Build) -> None:
    run = build(MOVING)
    seen = fit(run).seen
    logged = layer_rows(run)
    assert not rows(run, "layers/")  # these columns would be hundreds
    assert [row["step"] for row in logged] == [4, 9]
    for row, steps in zip(logged, (5, 10), strict=True):
        assert row.keys() == {"step"} | {f"{name}/{measure}" for name in run.masks for measure in HISTORY_MEASURES}
        for name in run.masks:
            past = torch.stack([masks[name] for masks in seen[: steps + 1]])
            assert row[f"{name}/itop"] == pytest.approx(past.any(0).double().mean().item())
            dead = [not output.any() for output in past[-1]]
            assert row[f"{name}/dead_channels"] == pytest.approx(sum(dead) / len(dead))


@pytest.mark.parametrize(("stop", "more"), [(5, ()), (7, ()), (4, ("trainer.accumulate_grad_batches=2",))])
def test_a_resumed_run_logs_the_same(build: Build, stop: int, more: tuple[str, ...]) -> None:
    """Between two epochs, in one after its last update, and where the next batch is no step yet."""
    spectral = ("callbacks=[spectral]", "callbacks.spectral.every_n_steps=4")
    overrides = (MOVING, "checkpoint.every_n_steps=1", *spectral, *more)
    whole = build(*overrides, folder="whole")
    fit(whole)
    first = build(*overrides, folder="parts")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(first, until=stop)
    second = build(*overrides, folder="parts")
    fit(second, checkpoint=Path(second.trainer.default_root_dir) / "checkpoints" / "last.ckpt")
    assert rows(second, "masks/") == rows(whole, "masks/")
    assert layer_rows(second) == layer_rows(whole) != []


def test_masks_are_looked_at_when_they_move_alone(build: Build, monkeypatch) -> None:
    looked = []
    observe = MaskHistory.observe
    monkeypatch.setattr(MaskHistory, "observe", lambda self, masks: looked.append(0) or observe(self, masks))
    fit(build(MOVING))
    assert len(looked) == 1 + len(UPDATES)


def test_masks_that_stay(build: Build) -> None:
    run = build("sparsifier=static")
    fit(run)
    assert [row["step"] for row in rows(run, "masks/")] == [0]
    assert [row["step"] for row in layer_rows(run)] == [4]


def test_nothing_masked_nothing_logged(build: Build) -> None:
    run = build("member=dense", "callbacks=[spectral]", "callbacks.spectral.every_n_steps=1")
    run.trainer.fit(run.module, run.data)
    assert rows(run, "val/loss") and not rows(run, "masks/")
    assert not (Path(run.trainer.default_root_dir) / "layers.csv").exists()


def test_accumulated_steps_are_logged_once(build: Build) -> None:
    run = build(
        "sparsifier.update_interval=1",
        "trainer.accumulate_grad_batches=2",
        "callbacks=[spectral]",
        "callbacks.spectral.every_n_steps=2",
    )
    fit(run)
    replaced = [row["step"] for row in rows(run, "masks/replaced")]
    assert len(replaced) == len(set(replaced)) > 1
    gaps = [row["step"] for row in rows(run, "masks/spectral_gap")]
    assert gaps == [step - 1 for step in range(1, run.trainer.global_step + 1) if step % 2 == 0]


def test_spectral_gaps_of_layers_and_their_mean(build: Build) -> None:
    run = build("callbacks=[spectral]", "callbacks.spectral.every_n_steps=10")
    fit(run)
    (row,) = rows(run, "masks/spectral_gap")
    assert row["step"] == 9
    expected = {name: spectral_gaps(run.masks[name], weight) for name, weight in run.masks.weights.items()}
    for name in ("spectral_gap", "spectral_gap_iterative"):
        assert row[f"masks/{name}"] == pytest.approx(sum(gaps[name] for gaps in expected.values()) / len(expected))
    ramanujan = {f"{name}/ramanujan_gap": gaps["ramanujan_gap"] for name, gaps in expected.items()}
    defined = {name: gap for name, gap in ramanujan.items() if not isnan(gap)}
    (of_layers,) = (one for one in layer_rows(run) if one["step"] == 9)
    assert {name: of_layers[name] for name in ramanujan if name in of_layers} == defined
    assert row["masks/ramanujan_gap"] == pytest.approx(sum(defined.values()) / len(defined))


def test_looking_changes_nothing(build: Build) -> None:
    often = (f"callbacks.{name}.every_n_steps=2" for name in ("spectral", "histograms"))
    watched = build(MOVING, "callbacks=[spectral,histograms,mask_pictures]", *often, folder="watched")
    plain = build(MOVING, "~callbacks.topology", folder="plain")
    for run in (watched, plain):
        run.trainer.fit(run.module, run.data)
    for name, tensor in plain.net.state_dict().items():
        assert torch.equal(watched.net.state_dict()[name], tensor), name
