"""A network with all that the steps of a compact file treat in a way of their own."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import Masks

SHAPE = (3, 9, 8)


class Net(nn.Module):
    """Convolutions with and without norms, bias, stride and groups, residual sums, a tensor that is used twice after a
    ReLU in place, layers that the kernels do not compute, and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.first, self.first_norm = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.second, self.second_norm = (
            nn.Conv2d(12, 12, 3, 1, 1, groups=2, bias=False),
            nn.BatchNorm2d(12, affine=False),
        )
        self.pre_norm, self.strided = nn.BatchNorm2d(12), nn.Conv2d(12, 16, 3, stride=2, padding=(1, 0))
        self.padded = nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular")
        self.line, self.line_norm = nn.Conv1d(16, 20, 3, padding="valid"), nn.BatchNorm1d(20)
        self.linear, self.again, self.head = nn.Linear(20, 24), nn.Linear(24, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)), inplace=True)
        y = F.relu6(self.first_norm(self.first(x)))
        x = F.relu(self.second_norm(self.second(y)) + x) + y
        x = self.padded(self.strided(self.pre_norm(x).relu()))
        x = self.line_norm(self.line(x.flatten(2))).mT
        x = F.gelu(self.linear(x))
        return self.head(self.again(x + self.again(x)).relu().mean(1))


MASKED = ("first", "second", "strided", "padded", "line", "linear", "again")


def made(density: float = 0.3) -> tuple[nn.Module, Masks]:
    """The network in evaluation mode, with random statistics of its norms, and its masks."""
    torch.manual_seed(0)
    net = Net().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 3)
            if module.affine:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
    masks = Masks(net, {name: torch.rand_like(net.get_submodule(name).weight) < density for name in MASKED})
    masks.apply()
    return net, masks
