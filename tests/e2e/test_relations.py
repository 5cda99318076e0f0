"""Relations between short runs. They hold on every machine, unlike the hashes of a single run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from .programs import lasting, network_state, results, saved_masks, unpacked

Trained = Callable[..., Path]

TINY = ("model._target_=tiny_nets.dropout", "recipe.epochs=2")
MOVING = (*TINY, "sparsifier.update_interval=2", "sparsifier.end=1.0")
"""20 steps; masks are updated in steps 2, 4, ..., 18."""

STATIC = (*TINY, "sparsifier=static")
N_OF_M = ("pattern=n_of_m", "pattern.m=8", "pattern.tolerance=0.1")
BLOCKS = ("pattern=block", "pattern.size=2", "pattern.tolerance=0.1")


def outcome(folder: Path) -> dict:
    """The results without the name of the sparsifier and its FLOPs, which may differ between identical trainings."""
    return {key: value for key, value in lasting(folder).items() if key not in ("sparsifier", "flops")}


def ones(bits: Tensor) -> int:
    """The number of active weights in a packed mask."""
    return int(np.unpackbits(bits.numpy()).sum())


@pytest.mark.parametrize("sparsifier", ["rigl", "set"])
def test_updates_that_drop_nothing_leave_the_training_with_static_masks(trained: Trained, sparsifier: str) -> None:
    """int(fraction * count) weights are dropped: none if the fraction is small enough."""
    still = trained(*TINY, f"sparsifier={sparsifier}", "sparsifier.drop_fraction=1e-9")
    assert outcome(still) == outcome(trained(*STATIC))


def test_static_masks_do_not_change(trained: Trained) -> None:
    first = results(trained(*STATIC))["masks_sha256"]
    assert results(trained(*STATIC, "recipe.epochs=1", "recipe.optimizer.lr=0.5"))["masks_sha256"] == first
    assert results(trained(*MOVING))["masks_sha256"] != first


def test_seeds_give_different_masks_of_equal_size(trained: Trained) -> None:
    one, other = saved_masks(trained(*STATIC)), saved_masks(trained(*STATIC, "seed=1"))
    assert all(not torch.equal(bits, other[name]) for name, bits in one.items())
    assert {name: ones(bits) for name, bits in one.items()} == {name: ones(bits) for name, bits in other.items()}


def test_ema_with_decay_zero_equals_a_run_without_ema(trained: Trained) -> None:
    assert lasting(trained(*MOVING, "callbacks=[ema]", "callbacks.ema.decay=0.0")) == lasting(trained(*MOVING))


def test_ema_changes_neither_masks_nor_flops(trained: Trained) -> None:
    plain, averaged = results(trained(*MOVING)), results(trained(*MOVING, "callbacks=[ema]", "callbacks.ema.decay=0.8"))
    for key in ("masks_sha256", "flops", "layers"):
        assert averaged[key] == plain[key]
    assert averaged["weights_sha256"] != plain["weights_sha256"]


@pytest.mark.parametrize(
    "sparsifier",
    [
        ("sparsifier=rigl", "sparsifier.update_interval=2"),
        ("sparsifier=set", "sparsifier.update_interval=2"),
        ("sparsifier=gmp", "sparsifier.update_interval=2"),
        ("sparsifier=granet", "sparsifier.update_interval=2"),
        ("sparsifier=dense_warmup", "sparsifier.until=0.3", "sparsifier.then.update_interval=2"),
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
def test_final_counts_equal_those_of_static_masks(trained: Trained, sparsifier: tuple[str, ...]) -> None:
    folder = trained(*TINY, *sparsifier)
    run, static, state = results(folder), results(trained(*STATIC)), network_state(folder)
    assert run["masks_sha256"] != static["masks_sha256"]
    for key in ("layers", "params"):
        assert run[key] == static[key]
    for key in ("budget", "forward", "forward_stored", "ratio"):
        assert run["flops"][key] == static["flops"][key]
    active = {layer["name"]: layer["active"] for layer in run["layers"]}
    for name, bits in saved_masks(folder).items():
        weight = state[f"{name}.weight"]
        assert ones(bits) == active[name]
        assert not weight[~unpacked(bits, weight.shape)].any()


def test_granet_without_drop_and_grow_equals_gmp(trained: Trained) -> None:
    """GraNet drops int(fraction * count) weights: none if the fraction is small enough."""
    pruning = (*TINY, "sparsifier.update_interval=2", "sparsifier.initial_density=0.9")
    granet = trained(*pruning, "sparsifier=granet", "sparsifier.drop_fraction=1e-9")
    assert outcome(granet) == outcome(trained(*pruning, "sparsifier=gmp"))


@pytest.mark.parametrize("distribution", ["uniform", "erk"])
@pytest.mark.parametrize("member", ["sparse_wide", "sparse_parallel", "sparse_factorized", "sparse_doped"])
def test_flops_of_a_member_are_those_of_the_dense_network(trained: Trained, member: str, distribution: str) -> None:
    """The difference is less than the FLOPs of the cheapest masked weight."""
    few_steps = ("model.base_width=8", "dataset.val_size=1300")
    run = results(trained(f"member={member}", f"sparsity={distribution}", "sparsifier=static", *few_steps))
    budget = results(trained("member=dense", *few_steps))["flops"]["forward"]
    masked = [layer for layer in run["layers"] if layer["active"] < layer["stored"]]
    assert run["flops"]["budget"] == budget
    assert abs(run["flops"]["forward"] - budget) < min(layer["flops"] // layer["active"] for layer in masked)
    assert run["flops"]["ratio"] == run["flops"]["forward"] / budget


@pytest.mark.parametrize("sparsifier", ["rigl", "set"])
def test_two_accumulated_batches_equal_one_of_twice_the_size(trained: Trained, sparsifier: str) -> None:
    """Without norms, and with 1,280 images, so that all batches are full."""
    net = ("model._target_=tiny_nets.normless", "dataset.val_size=158", "recipe.epochs=2", "recipe.optimizer.lr=0.05")
    options = (*net, f"sparsifier={sparsifier}", "sparsifier.update_interval=2")
    one = trained(*options, "dataset.batch_size=128")
    two = trained(*options, "dataset.batch_size=64", "trainer.accumulate_grad_batches=2")
    for key in ("masks_sha256", "flops", "steps"):
        assert results(one)[key] == results(two)[key]
    state = network_state(two)
    assert all(torch.allclose(value, state[name], atol=1e-4) for name, value in network_state(one).items())


@pytest.mark.parametrize(
    "overrides",
    [
        ("dataset.num_workers=2",),
        ("checkpoint.every_n_steps=3", "trainer.log_every_n_steps=1"),
        ("logger=none", "~callbacks.topology", "~callbacks.learning_rate"),
    ],
    ids=["workers", "checkpoints", "no-loggers"],
)
def test_options_that_do_not_affect_training(trained: Trained, overrides: tuple[str, ...]) -> None:
    assert lasting(trained(*MOVING, *overrides)) == lasting(trained(*MOVING))


@pytest.fixture
def exported(program, trained: Trained, tmp_path: Path) -> Callable[..., list[tuple[Tensor, dict]]]:
    """Trains with a pattern. Returns each masked weight that `sparseift.export` writes, and its entry in `layers`."""

    def export(*pattern: str) -> list[tuple[Tensor, dict]]:
        options = (*TINY, "model.base_width=16", *pattern)
        folder = trained(*options, "sparsifier.update_interval=2")
        without_updates = trained(*options, "sparsifier=static")
        assert results(folder)["masks_sha256"] != results(without_updates)["masks_sha256"]
        assert results(folder)["layers"] == results(without_updates)["layers"]
        assert program("sparseift.export", [str(folder), "--out", "weights.pt"], tmp_path).code == 0
        state = torch.load(tmp_path / "weights.pt", weights_only=True)
        layers = {layer["name"]: layer for layer in results(folder)["layers"]}
        return [(state[f"{name}.weight"], layers[name]) for name in saved_masks(folder)]

    return export


def test_exported_weights_are_n_of_m(exported) -> None:
    """n follows from the density of the layer."""
    for weight, layer in exported(*N_OF_M):
        groups = weight.movedim(1, -1).unflatten(-1, (-1, 8))
        n = 8 * layer["active"] / layer["stored"]
        assert n in range(1, 8)
        assert int((groups != 0).sum(-1).max()) == n


def test_exported_weights_are_blocks(exported) -> None:
    """All blocks with a weight that is not zero have no more weights than the layer has active ones."""
    for weight, layer in exported(*BLOCKS):
        blocks = weight.unflatten(1, (-1, 2)).unflatten(0, (-1, 2)).movedim(2, 1).flatten(2)
        covered = int(blocks.any(-1).sum()) * blocks.shape[-1]
        assert layer["active"] // 2 < covered <= layer["active"] < layer["stored"]
