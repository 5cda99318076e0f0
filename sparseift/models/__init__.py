"""Dense networks that torchvision does not have; the config names every other one by its own `_target_`."""

from .resnet_cifar import ResNetCifar, resnet18_cifar, resnet34_cifar

__all__ = ["ResNetCifar", "resnet18_cifar", "resnet34_cifar"]
