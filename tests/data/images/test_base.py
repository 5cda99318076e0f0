"""What every data module promises: fair split, right transforms, untouched test set, clear refusals."""

from itertools import chain

import pytest
import pytorch_lightning as pl
import torch

from sparseift.errors import UserError


def test_splits_the_training_images_by_class(numbered, numbers) -> None:
    data = numbered()
    train, val = (sorted(chain(*numbers(loader))) for loader in (data.train_dataloader(), data.val_dataloader()))
    assert sorted(train + val) == list(range(24))
    assert [sum(number % 3 == c for number in val) for c in range(3)] == [2, 2, 2]


def test_seeds_share_the_split_and_not_the_order(numbered, numbers) -> None:
    a, b = numbered(seed=0), numbered(seed=1)
    assert numbers(a.val_dataloader()) == numbers(b.val_dataloader())
    assert numbers(a.train_dataloader()) != numbers(b.train_dataloader())
    assert numbers(numbered(split_seed=1).val_dataloader()) != numbers(a.val_dataloader())


def test_only_training_images_are_augmented(numbered, finished) -> None:
    data = numbered(crop_padding=3, mean=[0.5], std=[0.25])
    loaders = data.val_dataloader(), data.test_dataloader(), data.train_dataloader()
    batches = [finished(data, loader) for loader in loaders]
    uniform = [all(image.min() == image.max() for images, _ in part for image in images) for part in batches]
    assert uniform == [True, True, False]


def test_validation_and_test_images_come_in_order_and_whole(numbered, numbers) -> None:
    data = numbered()
    val = list(chain(*numbers(data.val_dataloader())))
    assert val == sorted(val)
    assert numbers(data.test_dataloader()) == [[200, 201, 202, 203]]


def test_ranks_share_the_evaluation_without_overlap(numbered, numbers, as_rank) -> None:
    seen = []
    for rank in range(4):
        as_rank(rank, 4)
        seen += list(chain(*numbers(numbered().val_dataloader())))
    assert len(seen) == len(set(seen)) == 6


def test_batches_are_normalised_floats_with_integer_classes(numbered, finished) -> None:
    data = numbered(mean=[0.25], std=[0.5])
    assert next(iter(data.val_dataloader()))[0].dtype == torch.uint8
    images, targets = finished(data, data.val_dataloader())[0]
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)
    assert images.shape == (4, 1, 3, 3)
    pixels = (images[:, 0, 0, 0] * 0.5 + 0.25) * 255
    assert torch.equal(pixels.round().long() % 3, targets)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-mixed", torch.float32)])
def test_images_have_the_precision_of_the_trainer(numbered, precision: str, dtype: torch.dtype) -> None:
    class Net(pl.LightningModule):
        def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
            assert batch[0].dtype == dtype

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", precision=precision, enable_checkpointing=False, **quiet)
    trainer.validate(Net(), numbered(), verbose=False)


def test_the_test_set_is_read_for_testing_alone(numbered) -> None:
    data = numbered()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert data.loaded == [True]
    data.test_dataloader()
    assert data.loaded == [True, False]


def test_no_validation_images_no_validation_loader(numbered, numbers) -> None:
    data = numbered(val_size=0)
    assert data.val_dataloader() == []
    assert len(list(chain(*numbers(data.train_dataloader())))) == 24


def test_grey_images_become_three_equal_channels(numbered, finished) -> None:
    data = numbered(channels=3, crop_padding=1, mean=[0.0] * 3, std=[1.0] * 3)
    images, _ = finished(data, data.train_dataloader())[0]
    assert images.shape == (4, 3, 3, 3)
    assert torch.equal(images[:, 0], images[:, 2])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"val_size": 24}, "dataset.val_size is 24; expected an integer from 0 to 23"),
        ({"val_size": -1}, "dataset.val_size is -1; expected an integer >= 0"),
        ({"num_classes": 10}, "dataset.num_classes is 10; expected 3, as in the data"),
        ({"image_size": 32}, "dataset.image_size is 32; expected 3, as in the data"),
        ({"batch_size": 0}, "dataset.batch_size is 0; expected an integer >= 1"),
        ({"num_workers": -1}, "dataset.num_workers is -1; expected an integer >= 0"),
        ({"crop_padding": -1}, "dataset.crop_padding is -1; expected an integer from 0 to 3"),
        ({"cutout": 4}, "dataset.cutout is 4; expected an integer from 0 to 3"),
    ],
    ids=str,
)
def test_mistakes_are_refused_in_one_line(numbered, wrong: dict[str, int], right: str) -> None:
    with pytest.raises(UserError) as refusal:
        numbered(**wrong).train_dataloader()
    assert str(refusal.value).startswith(right)
    assert "\n" not in str(refusal.value)
