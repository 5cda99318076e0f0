"""Strong augmentation, as transformers need it: RandAugment, random erasing, MixUp and CutMix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from ...common import checks
from ...common.seeds import stable_seed
from .augment import draw

LEVELS = 31
"""Magnitudes of `v2.RandAugment`, from 0 to 30."""

PARTS = 2**16
"""Number of equally probable values of a share."""

OPTION = "recipe.augmentation"


class StrongAugmentation:
    """Changes single images in `transforms`, and then mixes the images of a batch on its device with `mix`.

    The random numbers of an image depend on (seed, epoch, index of the image) alone. The image that it is mixed with
    also depends on the batch, which is the same in a resumed run.

    Args:
        rand_augment: `operations`, the number of operations of RandAugment; `magnitude`, from 0 to 30, where
            torchvision has 31 of them; and `probability`, that of each operation. None for no RandAugment.
        erasing: Probability that a rectangle is replaced by noise (`v2.RandomErasing`).
        mixup: The shares of two images are drawn from Beta(mixup, mixup); 0 for no MixUp.
        cutmix: Likewise the area that CutMix replaces by a part of another image; 0 for no CutMix.
        cutmix_probability: Probability of CutMix instead of MixUp, if there are both.
    """

    def __init__(
        self,
        rand_augment: Mapping[str, Any] | None,
        erasing: float,
        mixup: float,
        cutmix: float,
        cutmix_probability: float,
    ) -> None:
        options = dict(rand_augment or dict.fromkeys(("operations", "magnitude", "probability"), 0))
        fits = options.keys() == {"operations", "magnitude", "probability"}
        checks.require(fits, f"{OPTION}.rand_augment", rand_augment, "null, or operations, magnitude and probability")
        self.operations = checks.integer(f"{OPTION}.rand_augment.operations", options["operations"], 0)
        self.magnitude = checks.integer(f"{OPTION}.rand_augment.magnitude", options["magnitude"], 0, LEVELS - 1)
        self.probability = checks.number(f"{OPTION}.rand_augment.probability", options["probability"], 0, 1)
        self.erasing = checks.number(f"{OPTION}.erasing", erasing, 0, 1)
        self.mixup = checks.number(f"{OPTION}.mixup", mixup, 0)
        self.cutmix = checks.number(f"{OPTION}.cutmix", cutmix, 0)
        share = checks.number(f"{OPTION}.cutmix_probability", cutmix_probability, 0, 1)
        self.shares: Tensor | None = None  # the quantiles of the shares of MixUp and CutMix
        self.cutmix_probability = share if mixup and cutmix else float(cutmix > 0)

    def transforms(self, mean: Sequence[float], std: Sequence[float]) -> list[Any]:
        """Return the transforms of a training image, uint8 (C, H, W), after it has been cropped."""
        one = v2.RandAugment(num_ops=1, magnitude=self.magnitude, num_magnitude_bins=LEVELS)
        chosen: list[Any] = [v2.RandomApply([one], self.probability) for _ in range(self.operations)]
        return [*chosen, *([NoiseErasing(self.erasing, mean, std)] if self.erasing else [])]

    @property
    def mixes(self) -> bool:
        """Whether `mix` changes batches."""
        return self.mixup > 0 or self.cutmix > 0

    def mix(self, images: Tensor, targets: Tensor, keys: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Mix each image of a batch with its neighbour, and return the images and the probabilities of the classes.

        As in timm's mode "elem", each image has its own share and its own choice of MixUp or CutMix.

        Args:
            images: Normalized images, (B, C, H, W).
            targets: Classes, int64 (B,).
            keys: Keys of the images, int64 (B,) (see `augment.keys_of`).

        Returns:
            Images, and probabilities (B, num_classes) in float32.
        """
        height, width = images.shape[-2:]
        which, place, row, column = draw(keys + stable_seed("mix"), PARTS, PARTS, height, width)
        cut = which < self.cutmix_probability * PARTS
        if self.shares is None or self.shares.device != images.device:
            self.shares = torch.stack([_quantiles(self.mixup), _quantiles(self.cutmix)]).to(images.device)
        share = self.shares[cut.long(), place]  # of the image itself
        inside = _boxes(row, column, 1 - share, height, width) & cut[:, None, None]
        weight = torch.where(cut[:, None, None], 1.0 - inside.float(), share[:, None, None])
        kept = weight.mean((1, 2))[:, None]  # a box at the border is smaller than drawn
        weight = weight[:, None].to(images.dtype)
        classes = F.one_hot(targets, num_classes).float()
        return (
            images * weight + images.roll(1, 0) * (1 - weight),
            classes * kept + classes.roll(1, 0) * (1 - kept),
        )


class NoiseErasing(v2.RandomErasing):
    """Replaces a random rectangle of an image, uint8 (C, H, W), by noise that is normal after normalization.

    `v2.RandomErasing(value="random")` has such noise only for images that are normalized already.
    """

    def __init__(self, p: float, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(p, value=0)
        self.centre, self.width = (torch.tensor(list(values)).view(-1, 1, 1) for values in (mean, std))

    def forward(self, image: Tensor) -> Tensor:
        left = super().forward(torch.ones(1, *image.shape[-2:]))
        if left.all():
            return image
        noise = (self.centre + self.width * torch.randn(image.shape)) * 255
        return torch.where(left.bool(), image, noise.clamp(0, 255).round().to(torch.uint8))


def _quantiles(alpha: float) -> Tensor:
    """The quantiles of Beta(alpha, alpha) at the centres of `PARTS` equal parts of (0, 1)."""
    from scipy.special import betaincinv  # takes long to import

    parts = (torch.arange(PARTS, dtype=torch.float64) + 0.5) / PARTS
    return torch.from_numpy(betaincinv(alpha, alpha, parts.numpy())).float() if alpha else torch.ones(PARTS)


def _boxes(row: Tensor, column: Tensor, area: Tensor, height: int, width: int) -> Tensor:
    """Whether each pixel, (B, height, width), is in the box of CutMix (Yun et al. 2019, equation 2).

    Args:
        row, column: Centre of the box, (B,).
        area: Fraction of the image, (B,).
    """
    sides = ((centre, size, (area.sqrt() * size).long()) for centre, size in ((row, height), (column, width)))
    inside = []
    for centre, size, length in sides:
        place, first = torch.arange(size, device=centre.device), (centre - length // 2)[:, None]
        inside.append((place >= first) & (place < first + length[:, None]))
    rows, columns = inside
    return rows[:, :, None] & columns[:, None, :]
