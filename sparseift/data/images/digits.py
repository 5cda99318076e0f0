"""The digits of scikit-learn, which its package includes."""

import torch
from torch import Tensor

from .split import stratified_split
from .tensors import TensorImageData

LEVELS = 16  # maximum pixel value
TEST_IMAGES = 359  # 20 % of 1,797
TEST_SEED = 0  # defines the test set, since scikit-learn has none


class Digits(TensorImageData):
    """1,438 + 359 grey images of 8 x 8 pixels in 10 classes, with the arguments of `TensorImageData`."""

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        from sklearn.datasets import load_digits  # takes a second to import

        data = load_digits()
        images = torch.from_numpy(data.images).mul(255 / LEVELS).round().to(torch.uint8).unsqueeze(1)
        targets = torch.from_numpy(data.target).long()
        chosen = stratified_split(targets, TEST_IMAGES, TEST_SEED)[0 if train else 1]
        return images[chosen], targets[chosen]
