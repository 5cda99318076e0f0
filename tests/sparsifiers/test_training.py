"""Under Lightning: every choice of the command line trains and ends as planned; what changes resumes to the bit."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from sparseift import Masks, UserError
from sparseift.app.build import TrainingParts, build_network, build_run
from sparseift.app.overrides import config_folder
from sparseift.masks.patterns import Block, NofM
from sparseift.sparsifiers import Probe
from sparseift.training.callbacks import Accounting
from sparseift.training.callbacks.masks import MaskCallback
from sparseift.training.callbacks.progress import Lines
from sparseift.training.checkpoints.codec import mask_state, read_checkpoint

BATCH, STEPS = 64, 6
QUICK = (
    "dataset=digits",
    "trainer=cpu",
    "model.base_width=4",
    "member=sparse_parallel",
    "sparsity.level=0.5",
    f"dataset.batch_size={BATCH}",
    "dataset.val_size=0",
    "recipe.epochs=1",
    f"+trainer.limit_train_batches={STEPS}",
)
CHANGING = {
    "gmp": ("sparsifier.update_interval=2",),
    "granet": ("sparsifier.update_interval=2", "sparsifier.initial_density=0.8"),
    "dense_warmup": ("sparsifier.until=0.4", "sparsifier.then.update_interval=1", "sparsifier.then.end=1.0"),
}
AT_START = {
    "snip": (),
    "grasp": ("sparsifier.batches=1",),
    "force": ("sparsifier.batches=2", "sparsifier.iterations=3"),
    "synflow": ("sparsifier.iterations=3",),
}
MOVING = {
    "rigl_itop": ("sparsifier.update_interval=2",),
    "set_itop": ("sparsifier.update_interval=2",),
}
STRUCTURED = {  # a pattern of any sparsifier, by the name of a run
    "rigl n_of_m": ("pattern=n_of_m", "sparsifier.update_interval=2"),
    "rigl block": ("pattern=block", "pattern.size=2", "sparsifier.update_interval=2"),
    "set n_of_m": ("pattern=n_of_m", "sparsifier.update_interval=2"),
    "static block": ("pattern=block", "pattern.size=2"),
    "gmp block": ("pattern=block", "pattern.size=2", *CHANGING["gmp"]),
    "granet n_of_m": ("pattern=n_of_m", *CHANGING["granet"]),
    "dense_warmup block": ("pattern=block", "pattern.size=2", *CHANGING["dense_warmup"]),
    "snip n_of_m": ("pattern=n_of_m",),
}
ADAMW = ("recipe.optimizer._target_=torch.optim.AdamW", "~recipe.optimizer.momentum", "~recipe.optimizer.nesterov")
ADAPTIVE = {  # with second moments, which grown weights start with
    "rigl adamw": (*ADAMW, "+recipe.optimizer.amsgrad=true", "sparsifier.update_interval=2", "sparsifier.end=1.0"),
    "granet adamw": (*ADAMW, "recipe.optimizer.lr=0.001", *CHANGING["granet"]),
}
EVERY = CHANGING | AT_START | MOVING | STRUCTURED | ADAPTIVE


def config_of(sparsifier: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [*QUICK, f"sparsifier={sparsifier.split()[0]}", *EVERY.get(sparsifier, ()), *overrides])


def run_of(folder: Path, sparsifier: str, *overrides: str, watch: pl.Callback | None = None) -> TrainingParts:
    run = build_run(config_of(sparsifier, *overrides), folder, {})
    run.trainer.callbacks.extend([watch] if watch else [])
    return run


class Watch(pl.Callback):
    """What each step costs by its masks, and the state of the world when it begins. `stop`: a step to fail in."""

    def __init__(self, stop: int | None = None):
        self.stop = stop
        self.flops: list[int] = []
        self.random: list[Tensor] = []
        self.density: list[float] = []
        self.batches: list[Tensor] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        callbacks = {type(callback): callback for callback in trainer.callbacks}
        masks, plan = callbacks[MaskCallback].masks, callbacks[Accounting].plan
        ones = {layer.name: int(masks[layer.name].sum()) if layer.masked else layer.numel for layer in plan.layers}
        self.flops.append(sum(layer.flops_per_weight * ones[layer.name] for layer in plan.layers) * len(batch[0]))
        self.random.append(torch.get_rng_state())
        self.density.append(masks.density)
        self.batches.append(batch[0].clone())
        if trainer.global_step == self.stop:
            raise InterruptedError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of a choice; tests that name the same share it."""
    made: dict[str, tuple[TrainingParts, Watch]] = {}

    def get(sparsifier: str) -> tuple[TrainingParts, Watch]:
        if sparsifier not in made:
            watch = Watch()
            run = run_of(tmp_path_factory.mktemp(sparsifier), sparsifier, watch=watch)
            run.trainer.fit(run.module, run.data)
            made[sparsifier] = run, watch
        return made[sparsifier]

    return get


def test_no_choice_is_forgotten() -> None:
    files = {path.stem for path in (config_folder() / "sparsifier").glob("*.yaml")}
    assert files == {"none", "static", "set", "rigl", *CHANGING, *AT_START, *MOVING}


@pytest.mark.parametrize("sparsifier", EVERY)
def test_every_choice_trains_and_ends_on_its_budget(sparsifier: str, finished) -> None:
    run, watch = finished(sparsifier)
    assert run.trainer.global_step == STEPS
    for name, weight in run.masks.weights.items():
        assert run.masks.active[name] == int(run.masks[name].sum())
        assert weight.isfinite().all() and not weight[~run.masks[name]].any()
    used = {layer.name: run.masks.active.get(layer.name, layer.numel) for layer in run.planned.layers}
    forward = sum(layer.flops_per_weight * used[layer.name] for layer in run.planned.layers)
    assert run.plan.forward == forward and run.plan.params_active == run.plan.params_stored - sum(
        layer.numel - used[layer.name] for layer in run.planned.layers
    )
    if sparsifier in AT_START:
        assert forward <= run.planned.forward
        assert run.planned.forward - forward < max(layer.flops_per_weight for layer in run.planned.layers)
    elif sparsifier.split()[0] in AT_START:
        assert abs(forward / run.planned.forward - 1) < 0.02
    else:
        assert run.masks.active == run.masks.planned == {n: layer.active for n, layer in run.planned.masked.items()}
        assert run.plan == run.planned
    if sparsifier.split()[0] not in CHANGING:
        assert set(watch.density) == {run.masks.density}


@pytest.mark.parametrize("sparsifier", EVERY)
def test_training_flops_are_those_of_the_masks_of_every_step(sparsifier: str, finished) -> None:
    run, watch = finished(sparsifier)
    stored, sparsify = run.planned.forward_stored, run.accounting.mask_callback.sparsifier
    expected = sum(3 * flops for flops in watch.flops)
    for step, flops in enumerate(watch.flops, 1):
        if sparsify.dense_gradient and sparsify.due(step, STEPS):
            expected += stored * BATCH - flops
    passes = {"snip": BATCH, "grasp": 2 * BATCH, "force": 3 * 2 * BATCH, "synflow": 3}.get(sparsifier.split()[0], 0)
    assert run.accounting.train_flops == expected + 3 * stored * passes
    assert run.accounting.spent["samples"] == STEPS * BATCH


@pytest.mark.parametrize("sparsifier", CHANGING)
def test_the_density_shown_is_that_of_the_step(sparsifier: str, finished, capsys) -> None:
    run, watch = finished(sparsifier)
    first = 0.8 if sparsifier == "granet" else 1
    assert watch.density[0] == pytest.approx(first, abs=1e-3) and watch.density == sorted(watch.density, reverse=True)
    assert run.masks.density == run.planned.density < watch.density[0]
    (lines,) = (callback for callback in run.trainer.callbacks if isinstance(callback, Lines))
    lines.on_train_epoch_end(run.trainer, run.module)
    assert f"density {run.planned.density:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize("sparsifier", AT_START)
def test_choosing_masks_from_data_leaves_no_trace_in_the_run(sparsifier: str, finished) -> None:
    """The first step sees the same batch and the same random numbers as that of a run with random masks."""
    (_, watch), (_, other) = finished(sparsifier), finished("rigl_itop")
    assert torch.equal(watch.random[0], other.random[0]) and torch.equal(watch.batches[0], other.batches[0])


def test_masks_come_from_the_first_batches_of_training(tmp_path: Path, finished) -> None:
    run, watch = finished("snip")
    fresh = run_of(tmp_path, "snip")
    probe = Probe(fresh.net, fresh.masks.weights, [(watch.batches[0], labels_of(fresh))], fresh.module.task)
    fresh.accounting.mask_callback.sparsifier.start(fresh.masks, fresh.planned, 0, probe)
    assert fresh.masks.sha256() == run.masks.sha256()


def labels_of(run: TrainingParts) -> Tensor:
    return next(iter(run.data.train_dataloader()))[1]


@pytest.mark.parametrize(("sparsifier", "stop"), [("granet", 1), *((sparsifier, 3) for sparsifier in EVERY)])
def test_a_run_that_stops_goes_on_to_the_bit(sparsifier: str, stop: int, tmp_path: Path, finished) -> None:
    every = "checkpoint.every_n_steps=1"
    stopped = run_of(tmp_path, sparsifier, every, watch=Watch(stop))
    with pytest.raises(InterruptedError):
        stopped.trainer.fit(stopped.module, stopped.data)
    resumed = run_of(tmp_path, sparsifier, every)
    resumed.trainer.fit(resumed.module, resumed.data, ckpt_path=tmp_path / "checkpoints/last.ckpt", weights_only=True)
    run, _ = finished(sparsifier)
    assert resumed.trainer.global_step == STEPS
    for name, tensor in run.net.state_dict().items():
        assert torch.equal(tensor, resumed.net.state_dict()[name]), name
    assert resumed.masks.sha256() == run.masks.sha256()
    assert resumed.accounting.train_flops == run.accounting.train_flops


@pytest.mark.parametrize("sparsifier", ["snip", "gmp", "rigl"])
def test_the_best_network_is_one_that_is_as_sparse_as_the_last(sparsifier: str, tmp_path: Path) -> None:
    """Pruning at initialization has other numbers of active weights in its layers than the plan."""
    end = ("sparsifier.end=0.9",) if sparsifier == "gmp" else ()
    run = run_of(tmp_path, sparsifier, "dataset.val_size=100", "recipe.epochs=2", *end)
    run.trainer.fit(run.module, run.data)
    saved = read_checkpoint(tmp_path / "checkpoints/best.ckpt")
    assert mask_state(saved)["active"] == run.masks.active
    assert saved["epoch"] == 1 or sparsifier != "gmp", "it still pruned in the first epoch"


def test_a_checkpoint_of_another_sparsity_is_refused_while_both_are_dense(tmp_path: Path) -> None:
    stopped = run_of(tmp_path, "gmp", "checkpoint.every_n_steps=1", watch=Watch(1))
    with pytest.raises(InterruptedError):
        stopped.trainer.fit(stopped.module, stopped.data)
    other = run_of(tmp_path, "gmp", "sparsity=erk")
    with pytest.raises(UserError, match="sparsity differs"):
        other.trainer.fit(other.module, other.data, ckpt_path=tmp_path / "checkpoints/last.ckpt", weights_only=True)


def test_damaged_counts_in_a_checkpoint_are_refused(finished) -> None:
    run, _ = finished("gmp")
    (callback,) = (callback for callback in run.trainer.callbacks if isinstance(callback, MaskCallback))
    state = callback.state_dict()
    name = next(iter(run.masks))
    state["active"] = {**state["active"], name: state["active"][name] + 1}
    masks = Masks(run.net, {n: run.masks[n] for n in run.masks})
    fresh = MaskCallback(masks, run.planned, callback.sparsifier, callback.backend, run.task, 0)
    with pytest.raises(UserError, match=name):
        fresh.load_state_dict(state)


@pytest.mark.parametrize(("sparsifier", "kind"), [("rigl n_of_m", NofM), ("rigl block", Block)])
def test_profile_and_run_have_the_ratio_of_the_pattern(sparsifier: str, kind: type, finished) -> None:
    run, _ = finished(sparsifier)
    _, plan = build_network(config_of(sparsifier), on_meta=True)
    pattern = run.masks.pattern
    assert plan == run.planned and isinstance(pattern, kind)
    assert all(pattern.level(layer.shape, layer.active) for layer in plan.masked.values())
    assert plan.ratio == plan.forward / plan.budget != 1


def test_the_sparsifier_after_a_dense_warmup_is_chosen_from_its_group() -> None:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", ["sparsifier=dense_warmup", "sparsifier@sparsifier.then=set"])
    assert config.sparsifier.then._target_ == "sparseift.sparsifiers.SET"
    assert config.sparsifier.then.update_interval == 100


@pytest.mark.parametrize("sparsifier", ["gmp", "granet"])
def test_a_start_below_the_plan_is_refused_before_anything_runs(sparsifier: str) -> None:
    with pytest.raises(UserError, match="initial_density"):
        build_network(config_of(sparsifier, "sparsifier.initial_density=0.1"), on_meta=True)
