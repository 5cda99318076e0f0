"""A user's mistake ends in one line on standard error and exit code 2, with nothing printed besides or left behind."""

import pytest

from .programs import files, quick

MISTAKES = {
    "trainer.compile=fast": "trainer.compile is 'fast'; expected true, false or one of default, reduce-overhead, ",
    "trainer.matmul_precision=low": "trainer.matmul_precision is 'low'; expected one of highest, high, medium",
    "trainer.channels_last=1": "trainer.channels_last is 1; expected true or false",
    "trainer.send_active_gradients=both": "trainer.send_active_gradients is 'both'; expected true or false",
    "+trainer.compiled=true": "there is no option 'trainer.compiled'; did you mean trainer.compile",
    "model=resnet19": "model is 'resnet19'; expected one of botnet26, ",
    "experiment=quickstart": "experiment is 'quickstart'; expected one of cifar100/botnet26, ",
    "logger=[tensorbord]": "logger is 'tensorbord'; expected one of mlflow, ",
    "member=wide": "member is 'wide'; expected one of dense, sparse_doped, ",
    "sparsity=abc": "sparsity is 'abc'; expected a number, or one of er, erk, uniform",
    "sparsity=null": "sparsity is null; expected a number, or one of er, erk, uniform",
    "sparsity=true": "sparsity is true; expected a number, or one of er, erk, uniform",
    "sparsity=[0.5]": "sparsity is [0.5]; expected a number, or one of er, erk, uniform",
    "member=[dense]": "member is [dense]; expected one of dense, sparse_doped",
    "sparsity.include=null": "sparsity.include is None",
    "sparsity.exclude=[1]": "sparsity.exclude is [1]",
    "sparsifier.update_interval=true": "sparsifier.update_interval is True",
    "checkpoint.every_n_steps=true": "checkpoint.every_n_steps is True",
    "resume=true": "resume is True",
    "recipe.optimizer={dampening:0}": "'~recipe.optimizer' '+recipe.optimizer={...}'",
    "sparsity=0": "sparsity.level is 0; expected a number in (0, 1)",
    "sparsity=1": "sparsity.level is 1; expected a number in (0, 1)",
    "sparsity=1.5": "sparsity.level is 1.5; expected a number in (0, 1)",
    "sparsity=-1": "sparsity.level is -1; expected a number in (0, 1)",
    "sparsity=0.5,erk": "sparsity=uniform,erk sparsity.level=0.5,0.9",
    "sparsity=0.5,0.9": "sparsity.level is 0.5,0.9; expected one value, [...] for a list, or -m (--multirun)",
    "sparsity.level=abc": "sparsity.level is 'abc'",
    "member=dense sparsifier=rigl sparsity=1.5": "sparsity.level is 1.5; expected a number in (0, 1)",
    "-m seed=range(3,1)": "seed=range(3,1) has no values",
    "-m seed=range(0,1,0)": "seed=range(0,1,0) is no range",
    "-m seed=glob(zzz*)": "seed=glob(zzz*) has no values",
    "-m member=glob(zzz*)": "member is 'glob(zzz*)'; expected a glob that matches one of dense, sparse_doped",
    "-m hydra/launcher=parallel hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs is 0; expected an integer from 1 to",
    "+recipe.mixup=0.2": "there is no option 'recipe.mixup'; recipe has augmentation, decay_norm_and_bias",
    "++compile=true": "there is no option 'compile'",
    "+hydra.fast=1": "there is no option 'hydra.fast'",
    "sparsifier=none +sparsifier.update_interval=5": "there is no option 'sparsifier.update_interval'",
    "recipe.scheduler=null recipe.warmup_epochs=1": "recipe.warmup_epochs is 1; expected no value",
    "~recipe.scheduler": "recipe.scheduler is missing",
    "~trainer.max_epochs": "trainer.max_epochs is missing",
    "~recipe.optimizer._target_": "recipe.optimizer is {'_partial_': True",
    "+trainer.logger=true": "trainer.logger is True; expected no value, because the program sets it",
    "+callbacks.mine={a:1}": "callbacks.mine is {'a': 1}; expected a node with _target_",
    "callbacks.topology._target_=torch.nn.ReLU": "expected a target that returns a Callback",
    "sparsity.distribution=null": "sparsity.distribution is None; expected a node",
    "recipe.optimizer.lr=nan": "recipe.optimizer.lr is nan; expected a finite number",
    "recipe.optimizer.nesterov=maybe": "recipe.optimizer.nesterov is 'maybe'; expected true or false",
    "trainer.log_every_n_steps=abc": "trainer.log_every_n_steps is 'abc'; expected an integer",
    "trainer.sync_batchnorm=true trainer.devices=2": "trainer.sync_batchnorm is True; expected false on CPUs",
    "trainer.devices=1000": "trainer.devices is 1000; expected an integer from 1 to",
    "trainer.strategy=ddp_spawn": "trainer.strategy is 'ddp_spawn'",
    "trainer.accumulate_grad_batches=11": "trainer.accumulate_grad_batches is 11; expected an integer <= 10",
    "dataset.num_workers=100000": "dataset.num_workers is 100000; expected an integer from 0 to",
    "dataset.batch_size=1239": "dataset.batch_size is 1239; expected an integer <= 1238",
    "dataset.split_seed=abc": "dataset.split_seed is 'abc'; expected an integer",
    "dataset.std=[inf]": "dataset.std is [inf]; expected a list of 1 finite numbers above 0",
    "task.image_size=32": "task.image_size is 32; expected 8, which is dataset.image_size",
    "sparsty=0.5": "did you mean sparsity",
    "recipe.epoch=3": "did you mean recipe.epochs",
    "sparsifier.update_intervall=4": "did you mean sparsifier.update_interval",
    "zzz=1": "there is no option 'zzz'; see --cfg job",
    "sparsity.exclude=[backbone.*]": "sparsity.exclude is 'backbone.*'; expected a name or glob",
    "sparsity.include=[backbone.*]": "sparsity.include is 'backbone.*'; expected a name or glob",
    "sparsity.exclude=abc": "'abc'",
    "sparsifier.update_interval=0": "sparsifier.update_interval is 0",
    "sparsifier.update_interval=often": "sparsifier.update_interval is 'often'",
    "sparsifier.update_interval=100": "sparsifier.update_interval is 100; expected a shorter interval or more steps",
    "sparsifier=rigl_itop": "is 4000; expected a shorter interval or more steps; none of the 10 optimizer steps of",
    "sparsifier=dense_warmup": "sparsifier.then.update_interval is 100; expected a shorter interval or more steps; "
    "none of optimizer steps 2 to 10 of this run updates the masks (for masks that stay as they are: "
    "sparsifier.then=static)",
    "callbacks=[ema]": "callbacks.ema.decay is 0.9999; expected at most 0.9 for the 10 optimizer steps of this run",
    "callbacks=[ema] callbacks.ema.decay=nan": "callbacks.ema.decay is nan; expected a finite number",
    "+trainer.limit_train_batches=0": "trainer.limit_train_batches is 0; expected an integer >= 1, or a fraction",
    "+trainer.limit_train_batches=0.01": "trainer.limit_train_batches is 0.01; expected at least one batch of 10",
    "+trainer.limit_test_batches=0": "trainer.limit_test_batches is 0; expected an integer >= 1, or a fraction",
    "+trainer.limit_test_batches=0.01": "trainer.limit_test_batches is 0.01; expected at least one batch of 3",
    "+trainer.overfit_batches=2": "trainer.overfit_batches is 2; expected 0.0, since every epoch has other batches",
    "+trainer.max_steps=0": "trainer.max_steps is 0; expected an integer >= 1",
    "+trainer.max_time=00:00:00:00": "trainer.max_time is '0 seconds'; expected a duration > 0",
    "trainer.max_epochs=2": "trainer.max_epochs is 2; expected an integer from 1 to 1",
    "sparsifier.drop_fraction=0": "sparsifier.drop_fraction is 0",
    "sparsifier.drop_fraction=1.5": "sparsifier.drop_fraction is 1.5",
    "sparsifier.begin=-0.1": "(sparsifier.begin, sparsifier.end) is (-0.1, 0.75)",
    "sparsifier=none pattern=block": "pattern is 'block'; expected unstructured without masks",
    "sparsifier.begin=0.8": "(sparsifier.begin, sparsifier.end) is (0.8, 0.75)",
    "sparsifier.end=1.5": "(sparsifier.begin, sparsifier.end) is (0.0, 1.5)",
    "sparsifier.anneal=cosin": "cosine, constant, linear, exponential",
    "dataset.val_size=1438": "dataset.val_size is 1438; expected an integer from 0 to 1437",
    "dataset.val_size=many": "dataset.val_size is 'many'",
    "dataset.batch_size=0": "dataset.batch_size is 0",
    "dataset.batch_size=1.5": "dataset.batch_size is 1.5",
    "dataset.num_classes=5": "dataset.num_classes is 5; expected 10, as in the data",
    "dataset.channels=0": "dataset.channels is 0",
    "dataset.mean=[]": "dataset.mean is []; expected a list of 1 finite numbers",
    "dataset.mean=0.3": "dataset.mean is 0.3",
    "dataset.std=[0]": "dataset.std is [0]",
    "dataset.flip=maybe": "dataset.flip is 'maybe'; expected true or false",
    "resume=nowhere": "no checkpoint at nowhere",
    "recipe.epochs=0": "recipe.epochs is 0",
    "recipe.epochs=ten": "recipe.epochs is 'ten'; expected an integer >= 1",
    "recipe.optimizer.lr=fast": "recipe.optimizer",
    "recipe.optimizer._target_=torch.optim.Nothing": "recipe.optimizer._target_ is 'torch.optim.Nothing'; expected the",
    "recipe.scheduler_interval=week": "recipe.scheduler_interval is 'week'",
    "seed=-1": "seed is -1",
    "seed=one": "seed is 'one'; expected an integer from 0 to 4294967295",
    "checkpoint.every_n_steps=0": "checkpoint.every_n_steps is 0",
    "checkpoint.test=first": "checkpoint.test is 'first'",
    "trainer.precision=33": "trainer.precision is 33; expected null or one of 64, 32, 16, transformer-engine",
    "trainer.limit_val_batches=0.5": "To pass another argument: +trainer.limit_val_batches=VALUE",
    "recipe.optimizer=null": "recipe.optimizer is None; expected a node with _target_",
    "checkpoint=null": "checkpoint is None; expected a node",
    "export=maybe": "export is 'maybe'; expected true or false",
    "=3": "there is no option =3",
    "trainer.accumulate_grad_batches=0": "accumulate_grad_batches",
    "recipe=deit ~dataset.augmentation": "expected null, because dataset does not refer to it",
    "dataset=fashion_mnist": "fashion_mnist",
    "dataset=imagenet": "imagenet",
    "format=xml": "there is no option 'format'",
    "--sparsity=0.9": "there is no option --sparsity=0.9; values are set without dashes",
    "--sparsity 0.9": "there is no option --sparsity; values are set without dashes",
    "--cfg jobs": "invalid choice: 'jobs'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line(program, tmp_path, mistake: str) -> None:
    names = {override.partition("=")[0] for override in mistake.split()}
    net = [] if names & {"model", "dataset"} else ["model._target_=tiny_nets.dropout"]
    outcome = program("sparseift.train", quick(*net, *mistake.split()), tmp_path)
    assert MISTAKES[mistake] in outcome.mistake()
    assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == []


def test_devices_that_a_queue_can_not_count(program, tmp_path) -> None:
    outcome = program("sparseift.train", quick("-m", "hydra/launcher=slurm", "trainer.devices=auto"), tmp_path)
    assert outcome.mistake() == "trainer.devices is 'auto'; expected an integer >= 1 with hydra/launcher=slurm"


def test_a_network_of_too_few_classes(program, tmp_path) -> None:
    outcome = program("sparseift.train", quick("model.num_classes=5"), tmp_path)
    assert outcome.mistake() == "model.num_classes is 5; expected an integer >= dataset.num_classes, which is 10"


def test_a_batch_of_one_image(program, tmp_path) -> None:
    """Digits are a single pixel in the last stage: the last batch of 1,281 images in batches of 64."""
    outcome = program("sparseift.train", quick("dataset.batch_size=64", "dataset.val_size=157"), tmp_path)
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome
    assert "choose another dataset.batch_size or dataset.val_size" in outcome.err


def test_a_learning_rate_that_makes_training_diverge(program, tmp_path) -> None:
    net = ("model._target_=tiny_nets.normless", "recipe.epochs=2", "hydra.run.dir=run")
    outcome = program("sparseift.train", quick(*net, "recipe.optimizer.lr=1e20"), tmp_path)
    assert outcome.code == 2 and "Traceback" not in outcome.err, outcome
    assert "some weights are NaN after epoch 1; try a lower recipe.optimizer.lr" in outcome.err
    assert (tmp_path / "run/error.txt").read_text().startswith("training has diverged")
    assert not {"run/results.json", "run/checkpoints/last.ckpt"} & files(tmp_path)


def test_the_working_folder_stays(program, tmp_path) -> None:
    program("sparseift.train", quick("hydra.run.dir=.", "sparsity=1.5"), tmp_path).mistake()
    assert tmp_path.is_dir() and list(tmp_path.iterdir()) == []


def test_a_run_without_validation_has_nothing_to_say(program, tmp_path) -> None:
    outcome = program("sparseift.train", quick("model._target_=tiny_nets.dropout", "dataset.val_size=0"), tmp_path)
    assert (outcome.code, outcome.err) == (0, "")
