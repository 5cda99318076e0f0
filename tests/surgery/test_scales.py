"""The scale of attention follows the width of the heads, or the network is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparseift import UserError, transform

from .networks import HEADS, Wrapped, X


class Scaled(Wrapped):
    """Attention over pixels whose scale is an attribute, while the width of the heads is not (CaiT)."""

    def build(self, width: int) -> None:
        self.heads, self.scale, self.dropout = HEADS, (width // HEADS) ** -0.5, 0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).reshape(n, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self.mixed(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return self.proj(mixed).transpose(1, 2).view_as(x)

    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v


class ScaledAfter(Scaled):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (torch.einsum("nhid,nhjd->nhij", q, k) * self.scale).softmax(-1) @ v


class ScaledByArgument(Scaled):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)


class ScaledByDefault(Scaled):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class ScaledInPython(Scaled):
    def mixed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q @ k.transpose(-2, -1)) * (2 * self.scale)).softmax(-1) @ v


@pytest.mark.parametrize("pattern", [Scaled, ScaledAfter, ScaledByArgument, ScaledByDefault])
def test_the_scale_of_attention_follows_the_width_of_the_heads(pattern: type[Scaled]) -> None:
    """No other float does, such as a dropout of 1 / sqrt(4)."""
    new, wide = transform(pattern(8), "sparse_wide", 0.75, X), pattern(16)
    wide.load_state_dict(new.state_dict())
    assert (type(new.scale), new.scale, new.dropout) == (float, wide.scale, wide.dropout)
    torch.testing.assert_close(new(X), wide(X), rtol=0, atol=0)


def test_a_scale_that_python_computes_with_is_refused() -> None:
    with pytest.raises(UserError, match=r"ScaledInPython\): its code computes with scale=0.5, 1 / sqrt\(4\)"):
        transform(ScaledInPython(8), "sparse_wide", 0.75, X)
