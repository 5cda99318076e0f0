"""A user's mistake ends in one line on standard error and exit code 2, with nothing printed besides or left behind."""

import pytest

from .programs import quick

MISTAKES = {
    "model=resnet19": "Could not find 'model/resnet19'",
    "member=wide": "sparse_wide",
    "sparsity=abc": "Available options in 'sparsity': er erk uniform",
    "sparsity=null": "choose from a number, er, erk, uniform",
    "sparsity=true": "choose from a number, er, erk, uniform",
    "sparsity=[0.5]": "choose from a number, er, erk, uniform",
    "member=[dense]": "choose from dense, sparse_doped",
    "sparsity.include=null": "sparsity.include is None",
    "sparsity.exclude=[1]": "sparsity.exclude is [1]",
    "sparsifier.update_interval=true": "sparsifier.update_interval is True",
    "checkpoint.every_n_steps=true": "checkpoint.every_n_steps is True",
    "resume=true": "resume is True",
    "recipe.optimizer={dampening:0}": "'~recipe.optimizer' '+recipe.optimizer={...}'",
    "sparsity=0": "sparsity 0 is outside (0, 1)",
    "sparsity=1": "sparsity 1 is outside (0, 1)",
    "sparsity=1.5": "sparsity 1.5 is outside (0, 1)",
    "sparsity=-1": "sparsity -1 is outside (0, 1)",
    "sparsity=0.5,erk": "sparsity=uniform,erk sparsity.level=0.5,0.9",
    "sparsity=0.5,0.9": "--multirun",
    "sparsity.level=abc": "sparsity.level is 'abc'",
    "member=dense sparsifier=rigl sparsity=1.5": "sparsity 1.5 is outside (0, 1)",
    "sparsty=0.5": "did you mean sparsity",
    "recipe.epoch=3": "did you mean recipe.epochs",
    "sparsifier.update_intervall=4": "did you mean sparsifier.update_interval",
    "zzz=1": "there is no option 'zzz'; see --cfg job",
    "sparsity.exclude=[backbone.*]": "sparsity.exclude: no layer matches 'backbone.*'",
    "sparsity.include=[backbone.*]": "sparsity.include: no layer matches 'backbone.*'",
    "sparsity.exclude=abc": "'abc'",
    "sparsifier.update_interval=0": "sparsifier.update_interval is 0",
    "sparsifier.update_interval=often": "sparsifier",
    "sparsifier.drop_fraction=0": "sparsifier.drop_fraction is 0",
    "sparsifier.drop_fraction=1.5": "sparsifier.drop_fraction is 1.5",
    "sparsifier.begin=-0.1": "sparsifier.begin is -0.1",
    "sparsifier.begin=0.8": "sparsifier.begin is 0.8 and end 0.75",
    "sparsifier.end=1.5": "end 1.5",
    "sparsifier.anneal=cosin": "cosine, constant, linear, exponential",
    "dataset.val_size=1438": "dataset.val_size=1438",
    "dataset.val_size=many": "dataset.val_size",
    "dataset.batch_size=0": "dataset.batch_size is 0",
    "dataset.batch_size=1.5": "dataset.batch_size",
    "dataset.num_classes=5": "dataset.num_classes=10",
    "resume=nowhere": "no checkpoint at nowhere",
    "recipe.epochs=0": "recipe.epochs is 0",
    "recipe.epochs=ten": "recipe.epochs is ten",
    "recipe.optimizer.lr=fast": "recipe.optimizer",
    "recipe.optimizer._target_=torch.optim.AdamW": "momentum",
    "recipe.optimizer._target_=torch.optim.Nothing": "torch.optim.Nothing",
    "recipe.scheduler_interval=week": "recipe.scheduler_interval is 'week'",
    "seed=-1": "seed is -1",
    "seed=one": "seed is one",
    "checkpoint.every_n_steps=0": "checkpoint.every_n_steps is 0",
    "checkpoint.test=first": "checkpoint.test is 'first'",
    "trainer.precision=33": "recision",
    "trainer.accumulate_grad_batches=0": "accumulate_grad_batches",
    "dataset=fashion_mnist": "fashion_mnist",
    "dataset=imagenet": "imagenet",
    "format=xml": "there is no option 'format'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line(program, tmp_path, mistake: str) -> None:
    names = {override.partition("=")[0] for override in mistake.split()}
    net = [] if names & {"model", "dataset"} else ["model._target_=tiny_nets.dropout"]
    outcome = program("sparseift.train", quick(*net, *mistake.split()), tmp_path)
    assert MISTAKES[mistake] in outcome.mistake()
    assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == []
