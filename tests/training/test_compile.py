"""Training with a compiled network."""

from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sparseift.tasks import Classification
from sparseift.training.module import TrainingModule

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(folder: Path, compile: bool | str) -> dict[str, Tensor]:
    """12 images in batches of 5, 5 and 2, for 3 epochs with validation."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    images = TensorDataset(torch.randn(12, 1, 4, 4), torch.arange(12) % 3)
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    options = {"scheduler": None, "scheduler_interval": "epoch", "decay_norm_and_bias": True, "compile": compile}
    module = TrainingModule(net, Classification(3, 1, 4, label_smoothing=0.0), optimizer, **options)
    options = {"max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    options |= {"enable_model_summary": False, "default_root_dir": folder, "enable_progress_bar": False}
    pl.Trainer(**options, num_sanity_val_steps=0).fit(module, DataLoader(images, 5), DataLoader(images, 5))
    return module.state_dict()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The modes with which a graph was compiled. The graphs run as they are, which takes no compiler."""
    modes: list[str | None] = []
    compile = torch.compile

    def watched(net: nn.Module, *, mode: str | None, dynamic: bool) -> nn.Module:
        def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
            modes.append(mode)
            return graph

        return compile(net, backend=backend, dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", watched)
    return modes


@pytest.mark.parametrize(("compile", "mode"), [(True, None), ("reduce-overhead", "reduce-overhead")])
def test_one_graph_and_the_same_names_and_values(compiled, tmp_path: Path, compile: bool | str, mode: str) -> None:
    eager, found = trained(tmp_path, False), trained(tmp_path, compile)
    assert compiled == [mode], "neither the smaller last batch nor evaluation is compiled"
    assert found.keys() == eager.keys()
    assert all(torch.equal(found[name], value) for name, value in eager.items())
