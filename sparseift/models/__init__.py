"""Dense networks: for CIFAR, GPT, and those of libraries by name. Imports torch, `graph` and `surgery`."""

from .by_name import from_timm, from_torchvision
from .gpt import GPT
from .hugging_face import from_transformers
from .mobilenet_v2_cifar import MobileNetV2Cifar
from .resnet8 import ResNet8
from .resnet_cifar import ResNetCifar, resnet18_cifar, resnet34_cifar

__all__ = [
    "GPT",
    "MobileNetV2Cifar",
    "ResNet8",
    "ResNetCifar",
    "from_timm",
    "from_torchvision",
    "from_transformers",
    "resnet18_cifar",
    "resnet34_cifar",
]
