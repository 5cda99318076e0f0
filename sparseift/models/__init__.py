"""Dense networks: for CIFAR, GPT, and of torchvision and timm by name. Imports torch, `graph` and `surgery`."""

from .by_name import from_timm, from_torchvision
from .gpt import GPT
from .mobilenet_v2_cifar import MobileNetV2Cifar
from .resnet_cifar import ResNetCifar, resnet18_cifar, resnet34_cifar

__all__ = [
    "GPT",
    "MobileNetV2Cifar",
    "ResNetCifar",
    "from_timm",
    "from_torchvision",
    "resnet18_cifar",
    "resnet34_cifar",
]
