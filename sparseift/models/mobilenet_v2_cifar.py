"""MobileNetV2 for CIFAR, reconstructed from the FLOP count in the authors' code.

Differences from Sandler et al. 2018 (section 3 and Table 2): fewer halvings of the resolution, a bias in every
convolution, a 1x1 stem that pads its input by one pixel, an expansion by 1 in the first block, and a 1x1 convolution as
the last layer.
"""

from typing import Any

from torch import Tensor, nn

STAGES = (  # expansion, channels, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280


class InvertedResidual(nn.Module):
    """Expand, filter each channel separately, project: (N, in, H, W) -> (N, out, H/stride, W/stride).

    It has a shortcut if the shapes agree.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.residual = nn.Sequential(
            *conv_norm(in_channels, hidden, 1),
            nn.ReLU6(inplace=True),
            *conv_norm(hidden, hidden, 3, stride=stride, padding=1, groups=hidden),
            nn.ReLU6(inplace=True),
            *conv_norm(hidden, out_channels, 1),
        )
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x) if self.shortcut else self.residual(x)


class MobileNetV2Cifar(nn.Module):
    """MobileNetV2: (N, in_channels, H, W) -> (N, num_classes), with the initialization of PyTorch.

    It has 2,369,380 parameters for 3 channels and 100 outputs.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_norm(in_channels, STEM, 1, padding=1), nn.ReLU6(inplace=True))
        blocks, inputs = [], STEM
        for expansion, outputs, depth, stride in STAGES:
            for block in range(depth):
                blocks.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(*conv_norm(inputs, LAST, 1), nn.ReLU6(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Conv2d(LAST, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.blocks(self.stem(x)))
        return self.classifier(self.pool(x)).flatten(1)


def conv_norm(in_channels: int, out_channels: int, kernel: int, **options: Any) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(in_channels, out_channels, kernel, **options), nn.BatchNorm2d(out_channels)
