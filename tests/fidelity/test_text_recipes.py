"""The recipes of GPT-3 as published (the authors' public configs), from the configs: every constant."""

from collections.abc import Callable
from math import cos, pi, sqrt

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from sparseift.app.build import build_network, make
from sparseift.app.limits import limits_of, steps_of_recipe
from sparseift.data.text.tokenizers import Saved
from sparseift.errors import UserError
from sparseift.models import GPT
from sparseift.training.module import TrainingModule
from sparseift.training.schedulers import with_length

Compose = Callable[..., DictConfig]

PUBLISHED = {  # steps, warm-up, dropout, sequences, tokens per sequence
    "wikitext103": (21_511, 2_151, 0.1, 512, 1024),
    "pile": (4_778, 716, 0.0, 256, 2048),
}
PEAK, FLOOR = 6e-4, 6e-5


def module(config: DictConfig, net: nn.Module, run_steps: int) -> TrainingModule:
    recipe = config.recipe
    return TrainingModule(
        net,
        make(config.task),
        optimizer=make(recipe.optimizer),
        scheduler=with_length(make(recipe.scheduler), run_steps),
        scheduler_interval=recipe.scheduler_interval,
        decay_norm_and_bias=recipe.decay_norm_and_bias,
    )


def rates(config: DictConfig, run_steps: int) -> list[float]:
    """The learning rate that each step of a run trains with."""
    parts = module(config, nn.Linear(1, 1), run_steps).configure_optimizers()
    assert parts["lr_scheduler"]["interval"] == "step"
    seen = []
    for _ in range(run_steps):
        (now,) = {group["lr"] for group in parts["optimizer"].param_groups}
        seen.append(now)
        parts["optimizer"].step()
        parts["lr_scheduler"]["scheduler"].step()
    return seen


@pytest.mark.parametrize("data", PUBLISHED)
def test_learning_rates(composed: Compose, data: str) -> None:
    steps, warmup, *_ = PUBLISHED[data]
    config = composed(f"experiment={data}/gpt3_small_dense")
    table = [PEAK * (step + 1) / warmup for step in range(warmup)]
    decay = steps - warmup
    assert decay == {"wikitext103": 19_360, "pile": 4_062}[data]
    table += [FLOOR + (PEAK - FLOOR) * (1 + cos(pi * step / decay)) / 2 for step in range(decay)]
    assert rates(config, steps) == pytest.approx(table, rel=1e-9)


@pytest.mark.parametrize("data", PUBLISHED)
def test_lengths_and_batches(composed: Compose, data: str) -> None:
    steps, _, dropout, sequences, length = PUBLISHED[data]
    config = composed(f"experiment={data}/gpt3_small_dense")
    assert config.recipe.steps == config.trainer.max_steps == steps_of_recipe(config) == steps
    assert limits_of(config) == {}  # the whole recipe
    batch = config.dataset.batch_size * config.trainer.accumulate_grad_batches * config.trainer.devices
    assert (batch, config.dataset.context_length) == (sequences, length)
    assert (config.trainer.gradient_clip_val, config.trainer.precision) == (1.0, "bf16-mixed")
    assert config.recipe.dropout == config.model.dropout == dropout
    epochs = {"wikitext103": 100, "pile": 1}[data]
    assert config.recipe.epochs >= epochs


def test_the_tokens_of_the_pile_runs_are_20_per_parameter(composed: Compose) -> None:
    steps, _, _, sequences, length = PUBLISHED["pile"]
    assert steps * sequences * length / 125e6 == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize("data", PUBLISHED)
def test_optimizer_and_decay(composed: Compose, data: str) -> None:
    """Biases and norms do not decay; matrices do, embeddings included."""
    config = composed(f"experiment={data}/gpt3_small_dense")
    net = GPT(60, 16, layers=2, width=16, heads=2)
    optimizer = module(config, net, 10_000).configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.AdamW
    name = {id(parameter): name for name, parameter in net.named_parameters()}
    decays = {}
    for group in optimizer.param_groups:
        assert (tuple(group["betas"]), group["eps"]) == ((0.9, 0.95), 1e-8)
        decays.update({name[id(parameter)]: group["weight_decay"] for parameter in group["params"]})
    assert decays.keys() == set(name.values())
    for key, decay in decays.items():
        assert decay == (0.0 if key.endswith("bias") or ".ln_" in key else 0.1), key


@pytest.mark.parametrize("data", PUBLISHED)
def test_the_network(composed: Compose, data: str) -> None:
    config = composed(f"experiment={data}/gpt3_small_dense")
    with torch.device("meta"):
        net = make(config.model)
    block = net.transformer.h[0]
    assert len(net.transformer.h) == 12 and block.attn.heads == 12 and block.attn.dropout == config.recipe.dropout
    assert block.mlp.c_fc.weight.shape == (3072, 768) and net.lm_head.weight.shape == (50_257, 768)
    assert net.transformer.wpe.weight.shape == (config.dataset.context_length, 768)
    assert {norm.eps for norm in net.modules() if isinstance(norm, nn.LayerNorm)} == {1e-5}
    assert isinstance(block.mlp.act, nn.GELU) and block.mlp.act.approximate == "none"
    assert config.model.init_std == 0.02 and 0.02 / sqrt(2 * 12) == pytest.approx(0.00408, rel=1e-3)
    assert isinstance(make(config.dataset).tokenizer, Saved)


@pytest.mark.parametrize(
    ("experiment", "member", "sparsifier", "level"),
    [
        ("wikitext103/gpt3_small", "SparseWide", "Static", 0.5),
        ("wikitext103/gpt3_small_rigl", "SparseWide", "RigL", 0.75),
        ("pile/gpt3_small_static", "SparseWide", "Static", 0.5),
        ("pile/gpt3_small", "SparseWide", "RigL", 0.75),
    ],
)
def test_sparse_runs(composed: Compose, experiment: str, member: str, sparsifier: str, level: float) -> None:
    config = composed(f"experiment={experiment}")
    names = [config[group]._target_.rpartition(".")[2] for group in ("member", "sparsifier")]
    assert (names, config.sparsity.level, config.sparsity.budget) == ([member, sparsifier], level, "total")
    assert config.sparsity.distribution._target_.endswith(".Uniform")
    assert config.recipe == composed(f"experiment={experiment.partition('/')[0]}/gpt3_small_dense").recipe


@pytest.mark.parametrize(
    ("experiment", "steps", "interval", "last"),
    [("wikitext103/gpt3_small_rigl", 21_511, 500, 17_209), ("pile/gpt3_small", 4_778, 100, 3_584)],
)
def test_mask_updates(composed: Compose, experiment: str, steps: int, interval: int, last: int) -> None:
    sparsifier = make(composed(f"experiment={experiment}").sparsifier)
    due = [step for step in range(1, steps + 1) if sparsifier.due(step, steps)]
    assert due == list(range(interval, last, interval))
    end = {"wikitext103": 0.8, "pile": 0.75}[experiment.partition("/")[0]] * steps
    fraction = 0.3 * (1 + cos(pi * interval / end)) / 2
    assert sparsifier.fraction(interval, steps) == pytest.approx(fraction, rel=1e-3)


def test_a_shorter_run_follows_a_shorter_schedule(composed: Compose) -> None:
    found = rates(composed("recipe=short_text", "dataset=python_text", "recipe.scheduler.warmup=10"), 200)
    assert found[9] == max(found) == 8e-3 and found[-1] == pytest.approx(8e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.scheduler.warmup=200", r"recipe.scheduler.warmup is 200; expected an integer from 0 to 199"),
        ("recipe.scheduler.floor=1.5", r"recipe.scheduler.floor is 1.5; expected a number in \[0, 1\]"),
    ],
)
def test_schedules_that_do_not_fit(composed: Compose, override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        rates(composed("dataset=python_text", override), 200)


@pytest.mark.parametrize("steps", [0, -2, 1.5, "many"])
def test_steps_of_a_recipe(composed: Compose, steps: object) -> None:
    with pytest.raises(UserError, match=rf"^recipe\.steps is '?{steps}'?; expected an integer >= 1"):
        limits_of(composed("dataset=python_text", f"recipe.steps={steps}"))


def test_a_run_is_no_longer_than_its_recipe(composed: Compose) -> None:
    config = composed("dataset=python_text", "recipe.steps=100", "trainer.max_steps=50")
    assert limits_of(config) == {"trainer.max_steps": 50}
    with pytest.raises(UserError, match=r"^trainer\.max_steps is 200; expected an integer from 1 to 100$"):
        limits_of(composed("dataset=python_text", "recipe.steps=100", "trainer.max_steps=200"))


@pytest.mark.parametrize(
    ("level", "budget", "density", "ratio"),
    [
        (0.5, "total", 0.353, 1.0),
        (0.75, "total", 0.081, 1.0),
        (0.5, "nominal", 0.5, 1.177),
        (0.75, "nominal", 0.25, 1.404),
    ],
)
def test_densities_and_flops_of_sparse_wide_gpt3_small(
    composed: Compose, level: float, budget: str, density: float, ratio: float
) -> None:
    """By hand, per token in units of the dense network: blocks 84.9 M, head 38.6 M, products 18.9 M multiplications."""
    overrides = (f"sparsity.level={level}", f"sparsity.budget={budget}")
    plan = build_network(composed("experiment=wikitext103/gpt3_small", *overrides), on_meta=True)[1]
    widths = {0.5: 1092, 0.75: 1536}  # a multiple of 12 heads
    (shape,) = (tuple(layer.shape) for layer in plan.layers if layer.name == "transformer.h.0.mlp.c_fc")
    assert shape == (4 * widths[level], widths[level])
    assert plan.budget == 291_648_307_200
    assert plan.density == pytest.approx(density, abs=5e-4) and plan.ratio == pytest.approx(ratio, abs=5e-4)
    k = widths[level] / 768
    by_hand = (84.93 * k**2 * plan.density + 38.6 * k + 18.87 * k) / (84.93 + 38.6 + 18.87)
    assert plan.ratio == pytest.approx(by_hand, rel=1e-3)
