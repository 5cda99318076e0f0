"""Throughput of the input pipeline: the data modules of the package against per-image torchvision transforms."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from sparseift.data.images.base import ImageData
from sparseift.data.images.imagenet import ImageNet
from sparseift.data.images.synthetic import Synthetic

from .harness import Figure, Phase, Scale, row

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SMALL_BATCH = 128
AT_LEAST = {"wall": 150_000, "cpu": 75_000}
"""Small images per second: wall time on two cores, processor time per core."""
COMMON = {"val_size": 0, "seed": 0, "split_seed": 0, "channels": 3, "mean": MEAN, "std": STD}


@row("throughput of the input pipeline for small images: crop, flip, normalisation")
def small_images(scale: Scale) -> Iterable[Figure]:
    """The data set has the size of CIFAR. The per-image transforms process only its first images."""
    images, few = scale(50_000, 256), scale(4096, 256)
    sizes = {"train_images": images, "test_images": 1, "num_classes": 10, "image_size": 32, "batch_size": SMALL_BATCH}
    data = Synthetic(**COMMON, **sizes, num_workers=0, crop_padding=4, flip=True, cutout=0)
    usual = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *to_floats()])
    one_by_one = OneByOne(*data.tensors(train=True), few, usual)
    phases = [
        *(
            Phase(f"per image, {workers or 'no'} workers", partial(exhaust, usual_loader(one_by_one, workers)))
            for workers in {0, workers_of(scale)}
        ),
        Phase("whole batches", partial(exhaust, data.train_dataloader(), data)),
    ]
    *singly, whole = scale.timed(phases, rounds=scale(5, 1), warmup=1)
    slow = [images_a_second(figure, few) for figure in singly]
    fast = replace(images_a_second(whole, images), at_least=AT_LEAST[scale.clock])
    best = max(slow, key=lambda figure: figure.median)
    return [*slow, fast, replace(fast, name="whole batches, speed-up").over(best, at_least=10)]


@row("throughput of the input pipeline for JPEGs of 500 x 375 pixels: random crop of 224 pixels")
def jpegs(scale: Scale) -> Iterable[Figure]:
    count, size, workers = scale(256, 8), scale(224, 32), workers_of(scale)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_jpegs(root, count)
        sizes = {"num_classes": 2, "image_size": size, "batch_size": 32}
        data = ImageNet(root=folder, skip_damaged=False, **COMMON, **sizes, num_workers=workers)
        usual = v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.PILToTensor(), *to_floats()])
        pillow = usual_loader(ImageFolder(root / "train", usual), workers, 32)
        phases = [
            Phase(f"Pillow, {workers or 'no'} workers", partial(exhaust, pillow)),
            Phase(f"tensors, {workers or 'no'} workers", partial(exhaust, data.train_dataloader(), data)),
        ]
        slow, fast = (images_a_second(figure, count) for figure in scale.timed(phases, scale(5, 1), 1))
    return [slow, fast.over(slow)]


class OneByOne(Dataset):
    """The first `count` images in memory, transformed one by one on access."""

    def __init__(self, images: torch.Tensor, targets: torch.Tensor, count: int, transform: v2.Transform):
        self.images, self.targets, self.count, self.transform = images, targets, count, transform

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.targets[index])


def workers_of(scale: Scale) -> int:
    """Return the number of workers: none with the CPU clock, which does not measure running processes."""
    return 0 if scale.clock == "cpu" else 2


def to_floats() -> list[v2.Transform]:
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]


def usual_loader(images: Dataset, workers: int, batch: int = SMALL_BATCH) -> DataLoader:
    return DataLoader(images, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def exhaust(loader: DataLoader, data: ImageData | None = None) -> None:
    """Iterate over one epoch; with a data module, run its hook for batches on the device."""
    for batch in loader:
        if data:
            data.on_after_batch_transfer(batch)


def images_a_second(figure: Figure, count: int) -> Figure:
    return replace(figure, unit="images/s", samples=[1e3 * count / taken for taken in figure.samples])


def write_jpegs(root: Path, count: int) -> None:
    """Write smooth colours with noise, so that the files are about as large as photographs."""
    rng = np.random.default_rng(0)
    for number in range(count):
        folder = root / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        colours = Image.fromarray(rng.integers(0, 256, (25, 33, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(colours) + rng.normal(0, 8, (375, 500, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
