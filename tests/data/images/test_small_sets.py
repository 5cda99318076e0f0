"""Digits against scikit-learn's own, and synthetic images that can be learned."""

import torch
from sklearn.datasets import load_digits

from sparseift.data.images.digits import Digits
from sparseift.data.images.synthetic import Synthetic


def test_digits_are_those_of_scikit_learn(settings) -> None:
    data = Digits(**settings(num_classes=10, image_size=8))
    train, test = data.load(train=True), data.load(train=False)
    assert (len(train), len(test)) == (1438, 359)

    def rows(images, targets) -> list[list[int]]:
        return sorted([*image, target] for image, target in zip(images.tolist(), targets.tolist(), strict=True))

    own = torch.cat([train.images, test.images]).flatten(1).mul(16 / 255).round().int()
    given = load_digits()
    assert rows(own, torch.cat([train.targets, test.targets])) == rows(given.data.astype(int), given.target)
    shares = test.targets.bincount() / torch.from_numpy(given.target).bincount()
    assert (shares - 0.2).abs().max() < 0.005
    assert train.images.max() == 255


def test_digits_split_is_fixed(settings) -> None:
    a, b = (Digits(**settings(seed=seed, split_seed=seed)).tensors(train=False)[0] for seed in (0, 1))
    assert torch.equal(a, b)


def synthetic(settings, **changes) -> Synthetic:
    sizes = {
        "train_images": 200,
        "test_images": 80,
        "num_classes": 5,
        "channels": 3,
        "image_size": 8,
        "batch_size": 200,
    }
    return Synthetic(**settings(**sizes) | changes)


def test_synthetic_images_are_drawn_by_the_split_seed(settings) -> None:
    same, again, other = (synthetic(settings, split_seed=s, seed=i).tensors(True)[0] for i, s in enumerate((0, 0, 1)))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert same.shape == (200, 3, 8, 8)
    assert not torch.equal(same[:80], synthetic(settings).tensors(False)[0])


def test_synthetic_classes_can_be_learned_but_not_without_looking(settings) -> None:
    data = synthetic(settings, val_size=0)
    [(images, targets, _)] = data.train_dataloader()
    [(test_images, test_targets)] = data.test_dataloader()
    images, test_images = images.float(), test_images.float()
    means = torch.stack([images[targets == c].mean(0) for c in range(5)])
    nearest = torch.cdist(test_images.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test_targets).float().mean() > 0.95
    assert targets.bincount().tolist() == [40] * 5
