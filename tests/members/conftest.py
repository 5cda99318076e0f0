"""Small networks for the tests of all members, and a masked training step."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks, sparsify


class Tiny(nn.Module):
    """stem -> relu -> [layer -> norm -> activation] -> head, with a layer of any kind."""

    def __init__(self, layer: nn.Module, norm: nn.Module | None = None, activation: nn.Module | None = None):
        super().__init__()
        channels = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        dims = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
        kind = [nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d][dims]
        kernel = (1,) if dims else ()
        self.stem = kind(3, channels, *kernel)
        self.layer = layer
        self.norm = norm or nn.Identity()
        self.activation = activation or nn.ReLU()
        self.head = kind(outputs, 2, *kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.activation(self.norm(self.layer(self.before(x)))))

    def before(self, x: Tensor) -> Tensor:
        """The input of the layer."""
        return F.relu(self.stem(x))


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny


@pytest.fixture
def like() -> Callable[..., Tensor]:
    """A convolution or linear by torch's own functions, with the options of a dense layer and other weights."""

    def apply(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, bias)
        padding = layer.padding
        if layer.padding_mode != "zeros":
            reach = [side for size in reversed(padding) for side in (size, size)]
            x, padding = F.pad(x, reach, mode=layer.padding_mode), 0
        function = [F.conv1d, F.conv2d, F.conv3d][len(layer.kernel_size) - 1]
        return function(x, weight, bias, layer.stride, padding, layer.dilation, layer.groups)

    return apply


@pytest.fixture
def train() -> Callable[..., tuple[nn.Module, Masks]]:
    """Transform, mask, train for some steps of SGD, and leave the gradients of one more backward pass."""

    def run(net: nn.Module, member, sparsity: float, x: Tensor, steps: int) -> tuple[nn.Module, Masks]:
        torch.manual_seed(0)
        new, plan = sparsify(net, member, sparsity, x)
        masks = Masks.random(new, plan, seed=0)
        masks.apply()
        optimizer = torch.optim.SGD(new.train().parameters(), lr=0.05, momentum=0.9)
        for step in range(steps + 1):
            optimizer.zero_grad()
            output = new(x)
            loss = F.cross_entropy(output.flatten(1), torch.arange(len(x)) % output.flatten(1).shape[1])
            assert torch.isfinite(loss)
            loss.backward()
            masks.mask_gradients()
            if step < steps:
                optimizer.step()
        return new, masks

    return run
