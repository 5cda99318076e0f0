"""Train a network of your own: what a function or class returns. Arguments are overrides: recipe.epochs=30"""

import sys

from torch import Tensor, nn

import sparseift


class Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(self.first(x))).relu()


def net(channels: int = 16, blocks: int = 2) -> nn.Module:
    """Return a small residual network for digits."""
    stem = [nn.Conv2d(1, channels, 3, padding=1), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*stem, *(Block(channels) for _ in range(blocks)), *head)


if __name__ == "__main__":  # the config names own_network.net, so this file is also imported
    own = ["model._target_=own_network.net", "+model.channels=24"]
    masks = ["member=sparse_wide", "sparsity=0.75", "sparsifier.update_interval=20"]
    run = sparseift.run([*own, *masks, "dataset=digits", "trainer=cpu", "recipe.epochs=10", *sys.argv[1:]])
    for layer in run.results["layers"]:
        print(f"{layer['name']:<16}{layer['active']:>8,} of {layer['stored']:>8,} weights{layer['flops']:>12,} FLOPs")
    print(
        f"{run.metric.label} {run.score:.2f} {run.metric.unit}; {run.results['flops']['ratio']:.4f} of the dense FLOPs"
    )
