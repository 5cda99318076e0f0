"""scripts/dropin_language: the networks of its table by torch's own counter, and the page of some of them."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sparseift import forward_flops

pytest.importorskip("transformers")

SCRIPT = Path(__file__).parents[2] / "scripts" / "dropin_language"
NAMES = (
    "GPT, tied", "GPT, untied", "torch.nn.TransformerEncoder", "transformers/GPT2LMHeadModel",
    "transformers/GPTNeoXForCausalLM", "transformers/OPTForCausalLM", "transformers/LlamaForCausalLM",
    "transformers/Qwen2ForCausalLM", "transformers/Qwen3ForCausalLM", "transformers/MistralForCausalLM",
    "transformers/BertForMaskedLM", "transformers/ViTForImageClassification", "transformers/T5ForConditionalGeneration",
    "transformers/MambaForCausalLM",
)  # fmt: skip


@pytest.fixture
def language(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    from dropin import language

    return language


def test_the_table_has_these_networks(language: ModuleType) -> None:
    assert tuple(language.NETWORKS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_dense_total_is_what_torch_counts(language: ModuleType, name: str) -> None:
    from dropin.language_rows import counted

    net, example = language.NETWORKS[name](), language.example_of(name)
    assert forward_flops(net, example) == counted(net, example) > 0


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})


def test_rows_and_page(tmp_path: Path) -> None:
    names, options = ("GPT, tied", "*GPT2*", "*Mamba*"), ("--members", "sparse_wide", "dense", "--sparsity", "0.75")
    done = run(*names, *options, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with (tmp_path / "dropin_language.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2
    for row in rows:
        refused = "Mamba" in row["network"] and row["member"] == "sparse_wide"
        assert bool(row["refusal"]) == refused and "\n" not in row["refusal"]
        if not refused:
            assert row["check"] == "passed" and float(row["counted"]) == pytest.approx(float(row["ratio"]), abs=1e-9)
        if row["member"] == "sparse_wide" and not refused:
            assert float(row["counted"]) == pytest.approx(1, abs=1e-3)
    page = (tmp_path / "dropin_language.md").read_text()
    parameters = 97 * 96 + 16 * 96 + 2 * (12 * 96**2 + 13 * 96) + 2 * 96
    assert f"| GPT, tied | 7.572 M | {parameters / 1000:.1f} k | 1.0000 | 0.2990 |" in page
    assert "## Rejected" in page and "## Failed checks" not in page


def test_a_mistake_is_told_in_one_line(tmp_path: Path) -> None:
    done = run("nothing", "--out", tmp_path)
    assert done.returncode == 2 and done.stderr == "sparseift: GLOB is 'nothing'; expected networks such as 'GPT*'\n"
