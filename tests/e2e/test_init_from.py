"""init.from: runs that start from given weights."""

import shutil
from pathlib import Path

import pytest
import torch

from sparseift.training.initial_weights import load_weights_

from . import tiny_nets
from .programs import network_state, quick, results, saved_masks, unpacked

NET = ("model._target_=tiny_nets.dropout", "recipe.optimizer.lr=1e-12", "recipe.optimizer.weight_decay=0")
"""Training does not change the weights visibly."""

DENSE = ("model._target_=tiny_nets.dropout", "member=dense", "recipe.epochs=2")
CONVOLUTION = "3.weight"


@pytest.fixture
def given(trained, tmp_path) -> Path:
    """A folder with the run `dense`, and its weights in other formats."""
    shutil.copytree(trained(*DENSE), tmp_path / "dense")
    return tmp_path / "dense"


def test_every_kind_of_file(program, given, tmp_path) -> None:
    for name in ("weights.pt", "weights.safetensors"):
        assert program("sparseift.export", ["dense", "--out", name], tmp_path).code == 0
    expected = network_state(given)
    for source in ("dense", "dense/checkpoints/last.ckpt", "weights.pt", "weights.safetensors"):
        net = tiny_nets.dropout(10, 1, 4, True)
        load_weights_(net, tmp_path / source)
        assert all(torch.equal(value, expected[key]) for key, value in net.state_dict().items())


def test_a_dense_run_starts_from_given_weights(train, given, tmp_path) -> None:
    outcome = train(*NET, "member=dense", "init.from=dense", "hydra.run.dir=run")
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert "starts from the weights of dense: the same function before it is masked\n" in outcome.out
    assert results(tmp_path / "run")["init"] == {"from": "dense", "weights": "kept", "masks": None}
    found = network_state(tmp_path / "run")
    for key, value in network_state(given).items():
        assert value.dtype == torch.int64 or "running" in key or torch.allclose(found[key], value, atol=1e-6)


def test_pruning_keeps_the_largest_weights_and_a_resumed_run_its_start(train, given, tmp_path) -> None:
    run = (*NET, "member=dense", "sparsifier=static", "sparsity=0.5", "hydra.run.dir=run")
    outcome = train(*run, "init.from=dense")
    assert outcome.code == 0, outcome
    assert results(tmp_path / "run")["init"] == {"from": "dense", "weights": "kept", "masks": "largest"}
    weight = network_state(given)[CONVOLUTION].abs()
    mask = unpacked(saved_masks(tmp_path / "run")["3"], tuple(weight.shape))
    assert abs(int(mask.sum()) - weight.numel() / 2) <= 1 and weight[mask].min() > weight[~mask].max()
    more = train(*run, "recipe.epochs=2", "resume=auto", "init.from=dense")
    assert more.code == 0 and "starts from" not in more.out, more
    refused = train(*run, "recipe.epochs=3", "resume=auto").mistake()
    assert refused.endswith("has init.from=dense; this run has init.from=None")


def test_in_a_wider_network_repeated_inputs_share_the_weight(train, given, tmp_path) -> None:
    outcome = train(*NET, "member=sparse_wide", "sparsifier=none", "init.from=dense", "hydra.run.dir=wide")
    assert outcome.code == 0, outcome
    dense, wide = (network_state(tmp_path / name)[CONVOLUTION] for name in ("dense", "wide"))
    assert (dense.shape[:2], wide.shape[:2]) == ((8, 4), (16, 8))
    for output in range(16):
        shares = wide[output].view(4, 2, 3, 3)
        torch.testing.assert_close(shares.sum(1), dense[output // 2], atol=1e-6, rtol=1e-5)
        assert (shares[:, 0] != shares[:, 1]).all()


MISTAKES = {
    "init.from=nowhere.pt": "; there is no such file",
    "init.from=3": "init.from is 3; expected null or a path",
    "init.from=text.pt": "init.from is 'text.pt', which can't be read: ",
    "init.from=list.pt": "init.from is 'list.pt'; expected a state dict",
    "init.from=other.pt": "init.from is 'other.pt'; expected the weights of the network: 0.bias is of shape (4,) in "
    "the network and missing in the file",
    "init.from=dense model.base_width=5": "0.weight is of shape (5, 1, 3, 3) in the network and of shape (4, ",
    "init.from=dense member=sparse_doped": "expected member.norm=false and member.activation=false, or init.",
    "init.keep_weights=maybe": "init.keep_weights is 'maybe'; expected true, false or null",
    "init=null": "init is None; expected a node",
    "model._target_=tiny_nets.trained": "init.keep_weights is None; expected true, to start from the we",
}


def test_mistakes(program, given, tmp_path) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({"0.weight": network_state(given)["0.weight"]}, tmp_path / "other.pt")
    for mistake, expected in MISTAKES.items():
        net = [] if "_target_" in mistake else NET[:1]
        outcome = program("sparseift.train", quick(*net, *mistake.split(), "hydra.run.dir=run"), tmp_path)
        assert expected in outcome.mistake()
        assert not (tmp_path / "run").exists()


def test_weights_that_a_constructor_has_loaded(train, tmp_path) -> None:
    net = ("model._target_=tiny_nets.trained", *NET[1:])
    assert train(*net, "init.keep_weights=true", "hydra.run.dir=kept").code == 0
    assert train(*net, "init.keep_weights=false", "hydra.run.dir=new").code == 0
    assert train(*net, "member=dense", "sparsifier=static", "hydra.run.dir=dense").code == 0
    starts = {name: results(tmp_path / name)["init"] for name in ("kept", "new", "dense")}
    assert starts == {
        "kept": {"from": None, "weights": "kept", "masks": "largest"},
        "new": {"from": None, "weights": "new", "masks": "random"},
        "dense": {"from": None, "weights": "kept", "masks": "largest"},
    }
