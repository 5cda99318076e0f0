"""Data that a run cannot use is refused when the run starts, the test set included."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from sparseift.data.images.imagenet import ImageNet
from sparseift.data.images.tensors import TensorImageData
from sparseift.errors import UserError

from ..conftest import options

GOOD = [0, 1, 2] * 8


class Labelled(TensorImageData):
    """Empty images with the classes that `labels` gives to the training and the test set."""

    labels: tuple[list[int], list[int]]

    def tensors(self, train: bool) -> tuple[Tensor, Tensor]:
        targets = torch.tensor(self.labels[0 if train else 1], dtype=torch.int64)
        return torch.zeros(len(targets), 1, 3, 3, dtype=torch.uint8), targets


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([-1, *GOOD], [0], "the smallest class of the training images is -1; expected an integer >= 0"),
        ([3, *GOOD], [0], "dataset.num_classes is 3; expected 4, as in the data"),
        ([0, 1] * 4, [0], "dataset.num_classes is 3; expected 2, as in the data"),
        (GOOD, [0, 3], "the largest class of the test images is 3; expected an integer from 0 to 2"),
        (GOOD, [-1], "the smallest class of the test images is -1; expected an integer >= 0"),
        (GOOD, [], "the number of test samples is 0; expected at least 1"),
        ([], [0], "the number of training samples is 0; expected at least 1"),
    ],
)
def test_labels(train: list[int], test: list[int], told: str) -> None:
    data = Labelled(**options())
    data.labels = train, test
    with pytest.raises(UserError, match=f"^{told}$"):
        data.setup("fit")


def test_data_that_fits_is_loaded_once(monkeypatch) -> None:
    data = Labelled(**options())
    data.labels, loaded = (GOOD, [2, 0]), []
    read = data.load
    monkeypatch.setattr(data, "load", lambda train: loaded.append(train) or read(train))
    for stage in ("fit", "validate", "test"):
        data.setup(stage)
    assert torch.cat([targets for _, targets in data.test_dataloader()]).tolist() == [2, 0]
    assert loaded == [True, False]


@pytest.mark.parametrize(
    ("batch_size", "devices", "accumulated", "told"),
    [
        (18, 1, 1, None),
        (19, 1, 1, "dataset.batch_size is 19; expected an integer <= 18: an epoch has 18 training samples"),
        (9, 2, 1, None),
        (10, 2, 1, "dataset.batch_size on each of 2 devices is 10; expected an integer <= 9: an epoch has 18"),
        (4, 1, 5, None),
        (4, 1, 6, "trainer.accumulate_grad_batches is 6; expected an integer <= 5: an epoch has 5 batches"),
        (2, 3, 4, "trainer.accumulate_grad_batches is 4; expected an integer <= 3: an epoch has 3 batches"),
    ],
)
def test_a_step_takes_no_more_samples_than_there_are(batch_size, devices, accumulated, told: str | None) -> None:
    data = Labelled(**options(batch_size=batch_size))  # 24 images, of which 6 are held out
    data.labels = GOOD, [0]
    if told is None:
        data.check_batches(devices, accumulated)
    else:
        with pytest.raises(UserError, match=f"^{told}"):
            data.check_batches(devices, accumulated)


@pytest.mark.parametrize("seed", [None, "a", -1, 1.5, float("nan"), 2**63, True])
@pytest.mark.parametrize("name", ["seed", "split_seed"])
def test_seeds(name: str, seed: object) -> None:
    with pytest.raises(UserError, match=rf"^dataset\.{name} is .*; expected an integer from 0 to {2**63 - 1}$"):
        Labelled(**options(**{name: seed}))


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("values", [[float("nan")], [float("inf")], [], [True], [0.1, 0.2], None, "0.5", ["a"]])
def test_normalization(name: str, values: object) -> None:
    with pytest.raises(UserError, match=rf"^dataset\.{name} is .*; expected a list of 1 finite numbers"):
        Labelled(**options(**{name: values}))


def test_a_folder_that_the_test_set_lacks(tmp_path) -> None:
    for folder in ("train/cat", "train/dog", "val/cat"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "0.png")
    small = {name: value for name, value in options().items() if name not in ("crop_padding", "flip", "cutout")}
    changes = {"num_classes": 2, "channels": 3, "image_size": 8, "val_size": 0, "batch_size": 1}
    data = ImageNet(root=str(tmp_path), skip_damaged=False, **small | changes)
    with pytest.raises(UserError, match=r"/val and .*/train must hold the same classes \(folders\)$"):
        data.setup("fit")
