"""Fine-tune the network of a run as the backbone of DeepLabV3 on CityScapes, or of RetinaNet on COCO.

python examples/transfer.py RUN segmentation CITYSCAPES
python examples/transfer.py RUN detection COCO

The network must have the stages layer1 to layer4, as a ResNet does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, default_collate
from torchvision.datasets import Cityscapes, CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection import RetinaNet
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.transforms import v2

import sparseift

IGNORED = 255
"""The class of pixels that count neither in the loss nor in the metric."""


def features(network: nn.Module, stages: dict[str, str]) -> tuple[nn.Module, list[int]]:
    """Return the network up to the last of these stages, with their outputs by name, and the channels of each.

    It consists of the modules of the network itself, which the masks belong to.
    """
    extractor = create_feature_extractor(network, stages)
    with torch.no_grad():
        outputs = extractor.eval()(torch.zeros(1, 3, 64, 64))
    return extractor, [output.shape[1] for output in outputs.values()]


class Segmentation:
    """DeepLabV3 on CityScapes: 19 classes, mean IoU."""

    num_classes = 19

    def __init__(self, args: argparse.Namespace, mean: list[float], std: list[float]):
        self.args, self.mean, self.std = args, mean, std
        self.train_ids = torch.full((256,), IGNORED)
        for kind in Cityscapes.classes:
            if kind.train_id not in (-1, IGNORED):
                self.train_ids[kind.id] = kind.train_id

    def network(self, backbone: nn.Module) -> nn.Module:
        body, (channels,) = features(backbone, {"layer4": "out"})
        return DeepLabV3(body, DeepLabHead(channels, self.num_classes))

    def data(self, train: bool) -> Dataset:
        size = self.args.size
        augment = [v2.RandomCrop(size, pad_if_needed=True), v2.RandomHorizontalFlip()]  # padding is unlabelled, too
        finish = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        transforms = v2.Compose([*(augment if train else []), *finish])
        split = "train" if train else "val"
        found = Cityscapes(self.args.data, split, target_type="semantic", transforms=transforms)
        return wrap_dataset_for_transforms_v2(found)

    def classified(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The images, and the class of each pixel, (N, H, W), which files have as (N, 1, H, W) with other numbers."""
        images, ids = batch
        return images, self.train_ids.to(ids.device)[ids[:, 0].long()]

    def loss(self, net: nn.Module, batch: Any) -> Tensor:
        images, classes = self.classified(batch)
        return nn.functional.cross_entropy(net(images)["out"], classes, ignore_index=IGNORED)

    collate = staticmethod(default_collate)

    def score(self, net: nn.Module, batches: DataLoader, device: torch.device) -> str:
        """The mean over the classes of intersection over union, of all pixels together."""
        confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=device)
        for batch in batches:
            images, classes = self.classified(moved(batch, device))
            found, known = net(images)["out"].argmax(1), classes != IGNORED
            pairs = classes[known] * self.num_classes + found[known]
            confusion += pairs.bincount(minlength=self.num_classes**2).view_as(confusion)
        both, either = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        return f"mean IoU {(both / either)[either > 0].mean():.4f}"


class Pyramid(nn.Module):
    """The feature pyramid of RetinaNet on the last three stages of a network."""

    out_channels = 256

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.body, channels = features(backbone, {"layer2": "0", "layer3": "1", "layer4": "2"})
        last = LastLevelP6P7(self.out_channels, self.out_channels)
        self.pyramid = FeaturePyramidNetwork(channels, self.out_channels, extra_blocks=last)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.pyramid(self.body(images))


class Detection:
    """RetinaNet on COCO: mean average precision."""

    def __init__(self, args: argparse.Namespace, mean: list[float], std: list[float]):
        self.args, self.mean, self.std = args, mean, std
        self.num_classes = 1 + max(self._read("val").coco.getCatIds())

    def network(self, backbone: nn.Module) -> nn.Module:
        options = {"min_size": self.args.size, "max_size": 2 * self.args.size}
        return RetinaNet(Pyramid(backbone), self.num_classes, image_mean=self.mean, image_std=self.std, **options)

    def data(self, train: bool) -> Dataset:
        found = self._read("train" if train else "val")
        with_boxes = [place for place, image in enumerate(found.ids) if found.coco.getAnnIds(image)]
        return Subset(wrap_dataset_for_transforms_v2(found, target_keys=("boxes", "labels")), with_boxes)

    def _read(self, split: str) -> CocoDetection:
        flip = [v2.RandomHorizontalFlip()] if split == "train" else []
        transforms = v2.Compose([v2.ToImage(), *flip, v2.ToDtype(torch.float32, scale=True)])
        file = self.args.data / "annotations" / f"instances_{split}2017.json"
        return CocoDetection(self.args.data / f"{split}2017", str(file), transforms=transforms)

    def loss(self, net: nn.Module, batch: Any) -> Tensor:
        return sum(net(*batch).values())

    @staticmethod
    def collate(samples: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        images, targets = zip(*samples, strict=True)
        return list(images), list(targets)

    def score(self, net: nn.Module, batches: DataLoader, device: torch.device) -> str:
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision()
        for images, targets in batches:
            found = net([image.to(device) for image in images])
            metric.update([{name: value.cpu() for name, value in one.items()} for one in found], targets)
        return f"mean average precision {metric.compute()['map']:.4f}"


TASKS = {"segmentation": Segmentation, "detection": Detection}


def moved(batch: Any, device: torch.device) -> Any:
    """Return nested lists, tuples and dicts with their tensors on the device."""
    if isinstance(batch, dict):
        return {name: moved(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device) for value in batch)
    return batch.to(device)


def fine_tune(
    net: nn.Module, task: Any, batches: DataLoader, masks: sparseift.Masks | None, args: argparse.Namespace
) -> None:
    """Train a network with SGD and a learning rate that decreases to zero. Masked weights stay zero with `masks`."""
    device = next(net.parameters()).device
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, len(batches) * args.epochs, power=0.9)
    net.train()
    for epoch in range(1, args.epochs + 1):
        for batch in batches:
            loss = task.loss(net, moved(batch, device))
            optimizer.zero_grad()
            loss.backward()
            if masks is not None:
                masks.mask_gradients()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch}/{args.epochs}, loss of the last batch {loss.item():.4f}", flush=True)
    if masks is not None:
        masks.check([optimizer], net)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of CityScapes or COCO as it is distributed")
    parser.add_argument("--masks", choices=("keep", "release"), default="keep", help="whether zeros stay zero")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--size", type=int, default=512, help="size of crops, or of the shorter side, in pixels")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("transfer.pt"), help="state dict of the result")
    args = parser.parse_args()

    torch.manual_seed(0)
    loaded = sparseift.load(args.run)
    options = loaded.preprocessing.options()
    task = TASKS[args.task](args, options["mean"], options["std"])
    net = task.network(loaded.network).to(args.device)
    masks = loaded.masks if args.masks == "keep" else None
    if masks is not None:
        masks.to_weights()
    options = {"num_workers": args.workers, "collate_fn": task.collate}
    batches = DataLoader(task.data(train=True), args.batch_size, shuffle=True, drop_last=True, **options)
    fine_tune(net, task, batches, masks, args)
    net.eval()
    with torch.no_grad():
        print(task.score(net, DataLoader(task.data(train=False), 1, **options), torch.device(args.device)))
    if loaded.masks is not None:
        weights = loaded.masks.weights
        zeros = sum(int((weight == 0).sum()) for weight in weights.values())
        print(f"{zeros / sum(weight.numel() for weight in weights.values()):.4f} of the masked weights are zero")
    torch.save(net.state_dict(), args.out)


if __name__ == "__main__":
    main()
