"""A ResNet of eight layers for small inputs, which trains in half a minute on a CPU and is limited by its capacity."""

from torch import Tensor, nn

from ..common.checks import integer
from .resnet_cifar import BasicBlock

PATCH = 4
"""Side of the patches that the stem embeds, in pixels."""


class ResNet8(nn.Module):
    """A patch embedding and three BasicBlocks with W, 2W and 4W channels: (N, in_channels, H, W) -> (N, num_classes).

    The last two blocks halve height and width. With 28 x 28 pixels, the maps are 7 x 7, 4 x 4 and 2 x 2.

    Args:
        base_width: Number of channels W of the patch embedding and of the first block.
    """

    def __init__(self, num_classes: int, in_channels: int, base_width: int) -> None:
        super().__init__()
        integer("model.base_width", base_width, 1)
        self.conv1 = nn.Conv2d(in_channels, base_width, PATCH, stride=PATCH, bias=False)
        self.bn1 = nn.BatchNorm2d(base_width)
        self.relu = nn.ReLU(inplace=True)
        self.block1 = BasicBlock(base_width, base_width, 1)
        self.block2 = BasicBlock(base_width, 2 * base_width, 2)
        self.block3 = BasicBlock(2 * base_width, 4 * base_width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * base_width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.block3(self.block2(self.block1(x)))
        return self.fc(self.avgpool(x).flatten(1))
