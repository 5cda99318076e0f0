"""ResNets for CIFAR: a 3x3 stem and no max pooling (the CIFAR networks of the paper).

Module names and state-dict keys are those of `torchvision.models.ResNet`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..common.checks import integer


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with norms beside a shortcut: (N, in, H, W) -> (N, out, H/stride, W/stride).

    The shortcut is the identity if the shapes agree, else a 1x1 convolution and a norm (He et al., option B).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNetCifar(nn.Module):
    """Four stages of BasicBlocks with W, 2W, 4W and 8W channels: (N, in_channels, H, W) -> (N, num_classes).

    Args:
        depths: Number of blocks in each of the four stages. The last three stages halve height and width.
        base_width: Number of channels W of the stem and of the first stage.
        zero_init_residual: Initialize the last norm of each block to zero, so that the block starts as its shortcut.
    """

    def __init__(
        self,
        depths: Sequence[int],
        num_classes: int,
        in_channels: int,
        base_width: int,
        zero_init_residual: bool,
    ) -> None:
        super().__init__()
        integer("model.base_width", base_width, 1)
        self.conv1 = nn.Conv2d(in_channels, base_width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.relu = nn.ReLU(inplace=True)
        w1, w2, w3, w4 = (base_width * 2**i for i in range(4))
        self.layer1 = _stage(w1, w1, depths[0], stride=1)
        self.layer2 = _stage(w1, w2, depths[1], stride=2)
        self.layer3 = _stage(w2, w3, depths[2], stride=2)
        self.layer4 = _stage(w3, w4, depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(w4, num_classes)
        self._init_weights(zero_init_residual)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))

    def _init_weights(self, zero_init_residual: bool) -> None:
        """Kaiming-normal (fan_out) convolutions; norms and the linear head keep PyTorch's initialization."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock) and zero_init_residual:
                nn.init.zeros_(module.bn2.weight)


def _stage(in_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(depth - 1)))


def resnet18_cifar(
    num_classes: int, in_channels: int = 3, base_width: int = 64, zero_init_residual: bool = True
) -> ResNetCifar:
    """Return a ResNet-18 for CIFAR: 11,220,132 parameters for 3 channels, width 64 and 100 outputs."""
    return ResNetCifar((2, 2, 2, 2), num_classes, in_channels, base_width, zero_init_residual)


def resnet34_cifar(
    num_classes: int, in_channels: int = 3, base_width: int = 64, zero_init_residual: bool = True
) -> ResNetCifar:
    """Return a ResNet-34 for CIFAR: `resnet18_cifar` with 3, 4, 6 and 3 blocks a stage."""
    return ResNetCifar((3, 4, 6, 3), num_classes, in_channels, base_width, zero_init_residual)
