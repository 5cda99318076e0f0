"""Language modelling: loss, perplexity and bits per byte against their definitions."""

from math import exp, log, log2
from types import SimpleNamespace

import pytest
import torch

from sparseift.tasks import LanguageModelling
from sparseift.tasks.checked import Checked
from sparseift.tasks.generation import generate


def batch_of(tokens: list[list[int]], split_tokens: int = 10, split_bytes: int = 10) -> dict[str, torch.Tensor]:
    count = len(tokens)
    return {
        "tokens": torch.tensor(tokens),
        "split_tokens": torch.full((count,), split_tokens),
        "split_bytes": torch.full((count,), split_bytes),
    }


@pytest.fixture
def task() -> Checked:
    return Checked(LanguageModelling(vocab_size=4, context_length=3))


def test_every_token_but_the_first_is_predicted(task: Checked) -> None:
    batch = batch_of([[0, 1, 2, 3], [3, 2, 1, 0]])
    ((inputs,), keywords) = task.inputs(batch)
    assert inputs.tolist() == [[0, 1, 2], [3, 2, 1]] and keywords == {} and task.samples(batch) == 2
    logits = torch.randn(2, 3, 4)
    probabilities = logits.softmax(-1)
    wanted = [-log(probabilities[n, t, batch["tokens"][n, t + 1]]) for n in range(2) for t in range(3)]
    assert task.loss(logits, batch).tolist() == pytest.approx(wanted, rel=1e-5)
    assert float(task.training_loss(logits, batch)) == pytest.approx(sum(wanted) / 6, rel=1e-5)


def test_metrics_of_equal_probabilities(task: Checked) -> None:
    """Among 4 tokens the perplexity is 4, and a token takes 2 bits: with 8 bytes for 5 tokens, 1.25 bits per byte."""
    batch = batch_of([[0, 1, 2, 3]], split_tokens=5, split_bytes=8)
    measured = task.measure(torch.zeros(1, 3, 4), batch)
    perplexity, bits = task.metrics
    assert perplexity.of_mean(float(measured["perplexity"].mean())) == pytest.approx(4)
    assert bits.of_mean is None and float(measured["bits_per_byte"].mean()) == pytest.approx(log2(4) * 5 / 8)
    assert not perplexity.higher_is_better and not bits.higher_is_better and perplexity.of_mean is exp


def test_the_loss_of_the_same_outputs_is_computed_once(task: Checked, monkeypatch) -> None:
    batch, logits, other = batch_of([[0, 1, 2, 3]]), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    loss = task.loss(logits, batch)
    measured = task.measure(other, batch)["perplexity"]
    assert torch.equal(measured, task.loss(other, batch)) and not torch.equal(measured, loss)
    task.loss(logits, batch)
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda *_, **__: pytest.fail("computed again"))
    assert torch.equal(task.measure(logits, batch)["perplexity"], loss)


def test_outputs_of_hugging_face_and_in_half_precision(task: Checked) -> None:
    batch, logits = batch_of([[0, 1, 2, 3]]), torch.randn(1, 3, 4, dtype=torch.bfloat16)
    losses = task.loss(SimpleNamespace(logits=logits), batch)
    assert losses.dtype == torch.float32 and torch.equal(losses, task.loss(logits.float(), batch))


def test_the_example_is_a_sequence(task: Checked) -> None:
    example = task.example()
    assert (example.shape, example.dtype, example.device.type) == ((1, 3), torch.int64, "meta")
    assert task.parts_of_sample == ("tokens", 3)


class Successor(torch.nn.Module):
    """Predicts the number after the last one, of 7, for certain or with a second choice."""

    def __init__(self, sure: bool):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.9)
        self.scale = torch.nn.Parameter(torch.tensor(1e4 if sure else 1.0))
        self.lengths: list[int] = []

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.lengths.append(tokens.shape[1])
        return self.dropout(self.scale * torch.nn.functional.one_hot((tokens + 1) % 7, 7).float())


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_generation_continues_the_prompt_within_the_context(temperature: float) -> None:
    net = Successor(sure=True).train()
    net.dropout.eval()
    found = generate(net, [2, 3], 6, 4, temperature, torch.Generator().manual_seed(0))
    assert found == [4, 5, 6, 0, 1, 2] and net.lengths == [2, 3, 4, 4, 4, 4]
    assert net.training and not net.dropout.training


def test_generation_depends_on_its_generator_alone() -> None:
    net = Successor(sure=False)
    state = torch.get_rng_state()
    one, same, other = (generate(net, [0], 30, 8, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one == same != other and torch.equal(torch.get_rng_state(), state)
    flat = generate(net, [0], 300, 8, 1e6, torch.Generator().manual_seed(1))
    assert set(flat) == set(range(7))
