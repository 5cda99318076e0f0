"""GPT-3 Small with 1,024 tokens: 12 layers, width 768, 12 heads and a tied head of 50,257 tokens.

The published widths are 1092 and 1536. The convention of the paper, density 1 - s in the blocks, leaves out that
attention and the head become wider.
"""

import pytest
import torch

from sparseift import sparsify

transformers = pytest.importorskip("transformers")

TOKENS = 1024
BLOCKS, HEAD, PRODUCTS = 12 * 12 * 768**2, 50257 * 768, 12 * 2 * TOKENS * 768  # multiply-accumulates per token


@pytest.mark.parametrize(("sparsity", "width", "nominal"), [(0.5, 1092, 1.177), (0.75, 1536, 1.404)])
def test_the_density_that_meets_the_budget(sparsity: float, width: int, nominal: float) -> None:
    with torch.device("meta"):
        net = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    new, plan = sparsify(net, "sparse_wide", sparsity, torch.zeros(1, TOKENS, dtype=torch.long))
    assert (new.config.n_embd, new.config.n_head) == (width, 12)
    assert plan.budget == 2 * TOKENS * (BLOCKS + HEAD + PRODUCTS)
    k = width / 768
    density = (BLOCKS + (1 - k) * (HEAD + PRODUCTS)) / (k**2 * BLOCKS)
    assert plan.density == pytest.approx(density, abs=1e-6)
    masked = sum(layer.numel * layer.flops_per_weight for layer in plan.masked.values())
    assert (plan.forward_stored - sparsity * masked) / plan.budget == pytest.approx(nominal, abs=5e-4)
