"""What a user writes to learn something else: a task, a data set with dict batches, and a network with two inputs."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sparseift.data import DataModule
from sparseift.tasks import Metric, Task

SIZE = 12


class Regression(Task):
    """Squared errors of predictions from an input and the logarithm of its scale."""

    metrics = (Metric("mae", "mean absolute error", "mm", higher_is_better=False),)

    def example(self) -> tuple[tuple, dict]:
        return (torch.empty(1, SIZE, device="meta"),), {"scale": torch.empty(1, 1, device="meta")}

    def inputs(self, batch: dict[str, Tensor]) -> tuple[tuple, dict]:
        return (batch["input"],), {"scale": batch["scale"]}

    def loss(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return (outputs["prediction"] - batch["target"]).square().sum(1)

    def measure(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"mae": (outputs["prediction"] - batch["target"]).abs().mean(1)}

    def samples(self, batch: dict[str, Tensor]) -> int:
        return len(batch["target"])


class Lines(DataModule):
    """A noisy linear function."""

    def load(self, train: bool) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(int(train))
        inputs = torch.randn(240 if train else 40, SIZE, generator=generator)
        slopes = torch.linspace(-1, 1, SIZE)[:, None]
        targets = inputs @ slopes + 0.1 * torch.randn(len(inputs), 1, generator=generator)
        return [{"input": x, "scale": torch.zeros(1), "target": y} for x, y in zip(inputs, targets, strict=True)]


class Plain(pl.LightningDataModule):
    """The same samples from plain loaders."""

    def __init__(self, batch_size: int, **options: object):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        self.training, self.test = Lines.load(self, train=True), Lines.load(self, train=False)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.training[40:], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.training[:40], self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, self.batch_size)


class Net(nn.Module):
    """Draws random numbers while it trains, and gives a dict."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.last = nn.Linear(SIZE, width), nn.Linear(width, 1)
        self.hidden, self.norm = nn.Linear(width, width), nn.BatchNorm1d(width)
        self.relu, self.dropout = nn.ReLU(), nn.Dropout(0.1)

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        x = self.relu(self.first(x))
        x = self.dropout(self.relu(self.norm(self.hidden(x))))
        return {"prediction": self.last(x) * scale.exp()}


class Forgetful(Net):
    """Gives nothing but zeros after 20 steps of training, so that the best epoch is one of the first two."""

    def __init__(self, width: int):
        super().__init__(width)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        if self.training:
            self.steps += 1
        return {"prediction": super().forward(x, scale)["prediction"] * (self.steps <= 20)}


class NanWhenEvaluated(Net):
    """Trains, but gives nothing but NaN afterwards."""

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        prediction = super().forward(x, scale)["prediction"]
        return {"prediction": prediction if self.training else prediction * torch.nan}
