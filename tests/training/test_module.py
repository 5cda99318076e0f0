"""The LightningModule against losses, accuracies and groups computed by hand."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sparseift.errors import UserError
from sparseift.tasks import Classification, Metric
from sparseift.training.module import TrainingModule

pytestmark = pytest.mark.filterwarnings("ignore")
CLASSES = 7


def classifier(
    net: nn.Module | None = None, num_classes: int = CLASSES, label_smoothing: float = 0.0, **changes: Any
) -> TrainingModule:
    torch.manual_seed(0)
    settings = {
        "task": Classification(num_classes, 1, 2, label_smoothing),
        "optimizer": partial(torch.optim.SGD, lr=0.1, weight_decay=0.01),
        "scheduler": None,
        "scheduler_interval": "epoch",
        "decay_norm_and_bias": True,
    }
    net = net or nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES))
    return TrainingModule(net, **settings | changes)


def images(count: int = 22) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(
        torch.randn(count, 1, 2, 2, generator=generator), torch.randint(CLASSES, (count,), generator=generator)
    )


def trainer(**options: Any) -> pl.Trainer:
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    return pl.Trainer(**settings | {"enable_progress_bar": False, "num_sanity_val_steps": 0} | options)


def by_hand(net: nn.Module, data: TensorDataset) -> dict[str, float]:
    """Of all images at once, not a mean over batches of different sizes."""
    inputs, targets = data.tensors
    logits = net.eval()(inputs)
    order = logits.argsort(1, descending=True)
    return {
        "loss": float(F.cross_entropy(logits, targets)),
        "acc1": sum(int(targets[i] == order[i, 0]) for i in range(len(targets))) / len(targets),
        "acc5": sum(int(targets[i] in order[i, :5]) for i in range(len(targets))) / len(targets),
    }


@pytest.mark.parametrize("stage", ["val", "test"])
def test_metrics_are_of_all_images(stage: str) -> None:
    module, data = classifier(label_smoothing=0.3), images()
    loader = DataLoader(data, 8)  # 8, 8 and 6
    [measured] = (trainer().validate if stage == "val" else trainer().test)(module, loader, verbose=False)
    expected = {f"{stage}/{name}": value for name, value in by_hand(module.net, data).items()}
    assert measured == pytest.approx(expected, abs=1e-6)


def test_metrics_of_training_are_of_all_images_of_an_epoch() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, CLASSES))
    module, data = classifier(net, optimizer=partial(torch.optim.SGD, lr=0.0)), images()
    train = trainer(max_epochs=2)
    train.fit(module, DataLoader(data, 8, shuffle=True))
    expected = by_hand(module.net, data)
    expected = {f"train/{name}": expected[name] for name in ("acc1", "acc5")} | {"train/loss_epoch": expected["loss"]}
    measured = {name: float(value) for name, value in train.callback_metrics.items()}
    assert measured.pop("train/loss") > 0  # of the last batch
    assert measured == pytest.approx(expected, abs=1e-6)


def test_metrics_start_anew() -> None:
    module, data = classifier(), images()
    first, second = DataLoader(data, 8), DataLoader(images(4), 8)
    trainer().validate(module, first, verbose=False)
    [measured] = trainer().validate(module, second, verbose=False)
    assert measured["val/acc1"] == pytest.approx(by_hand(module.net, images(4))["acc1"])


def test_fewer_than_five_classes() -> None:
    module = classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), num_classes=3)
    data = TensorDataset(torch.randn(6, 1, 2, 2), torch.arange(6) % 3)
    [measured] = trainer().validate(module, DataLoader(data, 6), verbose=False)
    assert measured["val/acc5"] == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_loss(smoothing: float) -> None:
    module, (inputs, targets) = classifier(label_smoothing=smoothing), images(8).tensors
    module.log = lambda *_, **__: None
    loss = module.training_step((inputs, targets), 0)
    wanted = (1 - smoothing) * F.one_hot(targets, CLASSES) + smoothing / CLASSES
    expected = -(wanted * module.net(inputs).log_softmax(1)).sum(1).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("everything", [True, False])
def test_weight_decay_of_norms_and_biases(everything: bool) -> None:
    module = classifier(decay_norm_and_bias=everything)
    optimizer = module.configure_optimizers()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == 6
    for parameter in module.net.parameters():
        assert decay[id(parameter)] == (0.01 if everything or parameter.dim() > 1 else 0.0)


def test_frozen_parameters_are_left_out() -> None:
    module = classifier()
    module.net[1].weight.requires_grad_(False)
    assert len(module.configure_optimizers().param_groups[0]["params"]) == 5


@pytest.mark.parametrize(("interval", "rates"), [("epoch", [1.0, 1.0, 0.1, 0.1]), ("step", [1.0, 0.1, 0.01, 0.001])])
def test_schedule_by_epoch_or_by_step(interval: str, rates: list[float]) -> None:
    seen: list[float] = []

    class Watch(pl.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
            seen.append(optimizer.param_groups[0]["lr"])

    module = classifier(
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1),
        scheduler_interval=interval,
    )
    trainer(max_epochs=2, callbacks=[Watch()]).fit(module, DataLoader(images(16), 8))
    assert seen == pytest.approx(rates)


class Perplexity(Classification):
    """Judged by a function of the mean of all samples."""

    metrics = (Metric("perplexity", "perplexity", higher_is_better=False, of_mean=math.exp),)

    def measure(self, outputs: Tensor, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"perplexity": self.loss(outputs, batch)}


def test_a_metric_of_the_mean() -> None:
    """Not the mean of the perplexities of batches."""
    module, data = classifier(task=Perplexity(CLASSES, 1, 2, 0.0)), images()
    train = trainer(max_epochs=1)
    train.fit(module, DataLoader(data, 8))
    logged = {name: float(value) for name, value in train.callback_metrics.items()}
    assert logged["train/perplexity"] == pytest.approx(math.exp(logged["train/loss_epoch"]))
    [measured] = trainer().test(module, DataLoader(data, 8), verbose=False)
    loss = by_hand(module.net, data)["loss"]
    assert measured == pytest.approx({"test/loss": loss, "test/perplexity": math.exp(loss)}, rel=1e-5)


class Odd(Perplexity):
    """Names that ModuleDict refuses, and a function that overflows."""

    metrics = (Metric("items", "a"), Metric("a.b", "b", of_mean=lambda mean: math.exp(1000 + mean)))

    def measure(self, outputs: Tensor, batch: Sequence[Tensor]) -> dict[str, Tensor]:
        return {name: self.loss(outputs, batch) for name in ("items", "a.b")}


def test_names_are_free_and_a_metric_that_overflows_is_infinite() -> None:
    module = classifier(task=Odd(CLASSES, 1, 2, 0.0))
    [measured] = trainer().test(module, DataLoader(images(), 8), verbose=False)
    assert measured["test/items"] == pytest.approx(measured["test/loss"]) and measured["test/a.b"] == math.inf
    assert len(list(module.all_means)) == 3 * 3 and all(key.startswith("net.") for key in module.state_dict())


def test_forward_is_the_network() -> None:
    module, inputs = classifier(), torch.randn(3, 1, 2, 2)
    module.eval()
    out: Tensor = module(inputs)
    assert torch.equal(out, module.net(inputs))


def scheduled(scheduler: Any, interval: str, **changes: Any) -> TrainingModule:
    return classifier(scheduler=scheduler, scheduler_interval=interval, **changes)


@pytest.mark.parametrize("validates", [True, False])
def test_a_schedule_by_the_loss(validates: bool) -> None:
    """With a threshold of 1 no loss is an improvement, so every epoch halves the learning rate."""
    plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0, threshold=1.0)
    module, loader = scheduled(plateau, "epoch", validates=validates), DataLoader(images(), 11)
    trainer(max_epochs=3).fit(module, loader, loader if validates else None)
    assert module.optimizers().param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


def test_a_schedule_by_the_loss_has_no_steps() -> None:
    module = scheduled(torch.optim.lr_scheduler.ReduceLROnPlateau, "step")
    with pytest.raises(UserError, match=r"^recipe\.scheduler_interval is 'step'; expected epoch"):
        module.configure_optimizers()


@pytest.mark.parametrize(("interval", "steps"), [("step", 4), ("epoch", 2)])
def test_a_schedule_that_is_shorter_than_the_run(interval: str, steps: int) -> None:
    for length in (steps, steps - 1):
        cycle = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=length)
        module, run = scheduled(cycle, interval), trainer(max_epochs=2)
        if length == steps:
            run.fit(module, DataLoader(images(), 11))
        else:
            told = rf"^recipe\.scheduler\.total_steps is {length}; expected an integer >= {steps}$"
            with pytest.raises(UserError, match=told):
                run.fit(module, DataLoader(images(), 11))
            assert run.global_step == 0


def test_several_validation_loaders() -> None:
    loader, run = DataLoader(images(), 11), trainer(max_epochs=1)
    with pytest.raises(UserError, match=r"^the number of validation loaders is 2; expected 1"):
        run.fit(classifier(), loader, [loader, loader])
    assert run.global_step == 0
