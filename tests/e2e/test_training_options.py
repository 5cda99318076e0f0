"""Masks stay exact, and networks train, under every option of the Trainer and under other optimizers."""

import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir

from sparseift.app.overrides import config_folder

from .programs import checkpoint, metrics, network_state, quick, results, saved_masks, unpacked

COMMON = ("sparsifier.update_interval=2", "recipe.epochs=2")
TINY = "model._target_=tiny_nets.dropout"  # half precision takes its time on most processors
OTHER = "recipe.optimizer._target_=torch.optim"
NAMES = [
    *("model.base_width", "dataset.root", "dataset.batch_size", "dataset.val_size", "dataset.num_workers"),
    *("sparsity.level", "sparsity.include", "sparsity.exclude", "sparsifier.update_interval", "sparsifier.begin"),
    *("sparsifier.end", "sparsifier.drop_fraction", "sparsifier.anneal", "recipe.epochs", "recipe.optimizer.lr"),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.precision", "checkpoint.every_n_steps"),
    *("resume", "seed"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_others_rely_on(name: str) -> None:
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        node = compose("train")
    for key in name.split("."):
        assert key in node
        node = node[key]


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.precision=bf16-mixed", TINY),
        ("trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.1", TINY),
        ("trainer.precision=16-mixed", "trainer.gradient_clip_val=0.1", TINY),
        ("trainer.accumulate_grad_batches=2",),
        ("trainer.gradient_clip_val=0.1",),
        (f"{OTHER}.AdamW", "~recipe.optimizer.momentum", "~recipe.optimizer.nesterov", "recipe.optimizer.lr=0.001"),
        (f"{OTHER}.Adam", "~recipe.optimizer.momentum", "~recipe.optimizer.nesterov", "recipe.optimizer.lr=0.001"),
        (f"{OTHER}.RMSprop", "~recipe.optimizer.nesterov", "recipe.optimizer.lr=0.001"),
        ("recipe.decay_norm_and_bias=false", "recipe.label_smoothing=0.1"),
    ],
    ids=["bf16", "clipped-bf16", "clipped-16", "accumulation", "clipping", "AdamW", "Adam", "RMSprop", "two-groups"],
)
def test_masks_stay_exact(trained, overrides: tuple[str, ...]) -> None:
    folder, plain = trained(*COMMON, *overrides), trained(*COMMON)
    state, masks = network_state(folder), saved_masks(folder)
    slots = checkpoint(folder)["optimizer_states"][0]["state"].values()
    assert results(folder)["weights_sha256"] != results(plain)["weights_sha256"]
    assert all(torch.isfinite(value).all() for value in state.values())
    silent: dict[torch.Size, int] = {}
    for name, bits in masks.items():
        weight = state[f"{name}.weight"]
        mask = unpacked(bits, tuple(weight.shape))
        assert not weight[~mask].any() and weight[mask].any()
        silent[weight.shape] = silent.get(weight.shape, 0) + int((~mask).sum())
    for shape, count in silent.items():  # momenta and the like of silent weights are zero too
        kept = [(kind, value) for slot in slots for kind, value in slot.items() if torch.is_tensor(value)]
        for kind in {kind for kind, value in kept if value.shape == shape}:
            zeros = sum(int((value == 0).sum()) for other, value in kept if other == kind and value.shape == shape)
            assert zeros >= count
    updates = [row for row in metrics(folder) if "masks/replaced" in row]
    assert len(updates) == (3 if "accumulate" in overrides[0] else 7)


def test_accumulation_counts_optimizer_steps(trained) -> None:
    run, plain = results(trained(*COMMON, "trainer.accumulate_grad_batches=2")), results(trained(*COMMON))
    assert (run["steps"], plain["steps"]) == (10, 20)
    forward = run["flops"]["forward"]
    grown = (run["flops"]["train_total"] - 3 * forward * 2 * 1238) / (run["flops"]["forward_stored"] - forward)
    assert grown == 3 * 256  # steps 2, 4 and 6 of 10, both of their micro-batches


def test_training_learns(trained) -> None:
    run = results(trained("recipe.epochs=6", "recipe.optimizer.lr=0.05", "dataset.batch_size=64"))
    assert run["test"]["acc1"] > 0.7 and run["test"]["acc5"] > 0.9


@pytest.mark.skipif(not shutil.which("g++"), reason="torch's compiler needs a C++ compiler")
def test_a_compiled_network_trains_as_the_eager_one(program, trained, tmp_path) -> None:
    """With Inductor, torch's own compiler, whose kernels round otherwise. Masks move while its graph is in use."""
    options = ("model._target_=tiny_nets.normless", *COMMON)
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    arguments = quick(*options, "trainer.compile=true", "hydra.run.dir=run")
    outcome = program("sparseift.train", arguments, tmp_path, **cache)
    assert outcome.code == 0, outcome
    assert list((tmp_path / "inductor").rglob("*.so")), "kernels were compiled"
    compiled, eager = tmp_path / "run", trained(*options)
    assert results(compiled)["masks_sha256"] == results(eager)["masks_sha256"]
    assert results(compiled)["mask_updates"] == 7
    state = network_state(eager)
    for name, value in network_state(compiled).items():
        assert torch.allclose(value, state[name], atol=1e-5)
        mask = saved_masks(compiled).get(name.removesuffix(".weight"))
        assert mask is None or not value[~unpacked(mask, tuple(value.shape))].any()
